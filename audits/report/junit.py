"""junit.xml: one test case a claim, for continuous integration."""

from __future__ import annotations

from audits.claim import ClaimVerdict, JudgedClaim
from audits.report.document import Report
from audits.report.junit_document import Case, Outcome, junit_document
from audits.report.marks import flags

_UNDECIDED = (ClaimVerdict.INCONCLUSIVE, ClaimVerdict.NOT_TESTABLE)


def outcome(item: JudgedClaim) -> Outcome:
    """ERROR is an error; a failed gate or an unexpected verdict a failure; an expected open verdict is skipped."""
    if item.judgement.verdict is ClaimVerdict.ERROR:
        return Outcome.ERROR
    if flags(item):
        return Outcome.FAILURE
    return Outcome.SKIPPED if item.judgement.verdict in _UNDECIDED else Outcome.PASSED


def junit(report: Report) -> str:
    """The document; it holds no times, so the same evidence gives the same bytes."""
    return junit_document("claims", [_case(item) for item in report.judged])


def _case(item: JudgedClaim) -> Case:
    """One claim."""
    end, verdict, reason = outcome(item), item.judgement.verdict, item.judgement.reason
    message = "; ".join((f"{verdict}", *flags(item), *((reason,) if end is Outcome.SKIPPED else ())))
    return Case(item.claim.id, end, message, kind=str(verdict), text=reason)
