"""Any model, named by `--subject`: one test a probe."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
from conftest import SETTINGS, SUBJECT

from audits.auditor.audit import audit, explain
from audits.probes import all_probes
from audits.results import AuditResult, Verdict


@pytest.fixture(scope="session")
def outcome(pytestconfig: pytest.Config) -> AuditResult:
    """One audit with all probes: the finding of one helps to classify that of another."""
    chosen = asdict(pytestconfig.stash[SETTINGS])
    return audit(pytestconfig.stash[SUBJECT], **chosen, target=pytestconfig.getoption("subject"))


@pytest.mark.parametrize("probe", [probe.name for probe in all_probes()])
def test_the_subject_passes(probe: str, outcome: AuditResult) -> None:
    """No finding, and a positive control that worked."""
    result = next(result for result in outcome.probes if result.name == probe)
    if not result.applicable:
        pytest.skip(result.why)
    if result.verdict is not Verdict.PASS:
        found = tuple(finding for finding in outcome.findings if probe in finding.seen_by)
        single = replace(outcome, verdict=result.verdict, findings=found, probes=(result,))
        pytest.fail(explain(single), pytrace=False)


def test_some_probe_applies(outcome: AuditResult) -> None:
    """A subject to which no probe applies has not passed."""
    assert any(result.applicable for result in outcome.probes), "no probe applies to this subject"
