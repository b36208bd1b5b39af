"""Somebody's model, named by `--subject`: one test a probe."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
from conftest import SETTINGS, SUBJECT

from audits.auditor.audit import audit, explain
from audits.probes import all_probes
from audits.results import AuditResult, Verdict


@pytest.fixture(scope="session")
def outcome(pytestconfig: pytest.Config) -> AuditResult:
    """One audit with all probes: what one of them sees helps to name what another found."""
    chosen = asdict(pytestconfig.stash[SETTINGS])
    return audit(pytestconfig.stash[SUBJECT], **chosen, target=pytestconfig.getoption("subject"))


@pytest.mark.parametrize("probe", [probe.name for probe in all_probes()])
def test_the_subject_passes(probe: str, outcome: AuditResult) -> None:
    """No finding, and a positive control that worked."""
    result = next(result for result in outcome.probes if result.name == probe)
    if not result.applicable:
        pytest.skip(result.why)
    if result.verdict is not Verdict.PASS:
        found = tuple(finding for finding in outcome.findings if finding.probe == probe)
        alone = replace(outcome, verdict=result.verdict, findings=found, probes=(result,))
        pytest.fail(explain(alone), pytrace=False)


def test_something_was_looked_at(outcome: AuditResult) -> None:
    """A subject to which no probe applies has passed nothing."""
    assert any(result.applicable for result in outcome.probes), "no probe applies to this subject"
