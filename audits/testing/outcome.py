"""What one probe's share of an audit means for a test: passed, skipped or failed, and what JUnit is told of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from audits.results import AuditResult, CausalityError, Verdict


def require_pass(result: AuditResult, name: str) -> None:
    """Skip the running test where this probe does not apply to the model, though another does.

    Raises:
        CausalityError: it did not pass, or no probe applies, which is no PASS.
    """
    __tracebackhide__ = True
    from audits.auditor.audit import explain  # torch with it, which pytest must not load at its start

    probe = next(probe for probe in result.probes if probe.name == name)
    if not probe.applicable and any(other.applicable for other in result.probes):
        pytest.skip(probe.why)
    if probe.verdict is not Verdict.PASS or not probe.applicable:
        found = tuple(finding for finding in result.findings if name in finding.seen_by)
        share = replace(result, verdict=probe.verdict, findings=found, probes=(replace(probe, applicable=True),))
        raise CausalityError(explain(share), share)


def properties(result: AuditResult) -> Iterator[tuple[str, str]]:
    """The properties of a failed test in JUnit XML: the verdict, then each finding's class and place."""
    yield "causality.verdict", str(result.verdict)
    for finding in result.findings:
        yield "causality.leak_class", str(finding.leak_class)
        if finding.file:
            yield "causality.file", finding.file
        if finding.line:
            yield "causality.line", str(finding.line)
