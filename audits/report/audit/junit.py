"""One audit as JUnit: one test case a probe, so that a leak fails the job and an undecided probe is never green."""

from __future__ import annotations

from audits.explanation import excerpt, place, sentence, trail
from audits.report.render.junit import Case, Outcome, junit_document
from audits.results import AuditResult, Finding, ProbeResult, Verdict


def audit_junit(result: AuditResult) -> str:
    """The document; the target names the suite."""
    return junit_document(result.target, [_case(probe, result.findings) for probe in result.probes])


def probe_outcome(probe: ProbeResult) -> Outcome:
    """A leak is a failure; a probe with nothing to look at is skipped; one that could not decide is an error."""
    if probe.verdict is Verdict.LEAK:
        return Outcome.FAILURE
    if not probe.applicable:
        return Outcome.SKIPPED
    # The audit is then UNDETERMINED and the command exits 3: the job is red, and its report must be red too.
    return Outcome.PASSED if probe.verdict is Verdict.PASS else Outcome.ERROR


def _case(probe: ProbeResult, findings: tuple[Finding, ...]) -> Case:
    own = [finding for finding in findings if probe.name in finding.seen_by]
    message = sentence(own[0]) if own else probe.why
    text = "\n".join([probe.why, *(_lines(finding) for finding in own)])
    kind = str(own[0].leak_class) if own else str(probe.verdict)
    return Case(probe.name, probe_outcome(probe), message, kind, text, probe.seconds)


def _lines(finding: Finding) -> str:
    """One leak: what, where, its way to the output, and the line that shows it again."""
    named = {"where": place(finding), "way": trail(finding), "reproduce": finding.reproduce}
    where, *rest = (f"{name}: {text}" for name, text in named.items() if text)
    return "\n".join((sentence(finding), where, *excerpt(finding), *rest))
