"""junit.xml: one test case a claim, for continuous integration."""

from __future__ import annotations

from enum import StrEnum

from audits.claim import ClaimVerdict, JudgedClaim
from audits.report.document import Report
from audits.report.escape import markup
from audits.report.marks import flags

_UNDECIDED = (ClaimVerdict.INCONCLUSIVE, ClaimVerdict.NOT_TESTABLE)


class Outcome(StrEnum):
    """How a test case ends, as JUnit names it."""

    PASSED = "passed"
    FAILURE = "failure"
    ERROR = "error"
    SKIPPED = "skipped"


def outcome(item: JudgedClaim) -> Outcome:
    """ERROR is an error; a failed gate or an unexpected verdict a failure; an expected open verdict is skipped."""
    if item.judgement.verdict is ClaimVerdict.ERROR:
        return Outcome.ERROR
    if flags(item):
        return Outcome.FAILURE
    return Outcome.SKIPPED if item.judgement.verdict in _UNDECIDED else Outcome.PASSED


def junit(report: Report) -> str:
    """The document; it holds no times, so the same evidence gives the same bytes."""
    ends = [outcome(item) for item in report.judged]
    counts = f'tests="{len(ends)}" failures="{ends.count(Outcome.FAILURE)}" errors="{ends.count(Outcome.ERROR)}"'
    counts += f' skipped="{ends.count(Outcome.SKIPPED)}"'
    cases = "".join(_case(item, end) for item, end in zip(report.judged, ends, strict=True))
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<testsuites name="claims" {counts}>\n'
        f'  <testsuite name="claims" {counts}>\n{cases}  </testsuite>\n</testsuites>\n'
    )


def _case(item: JudgedClaim, end: Outcome) -> str:
    """One claim."""
    opening = f'    <testcase classname="claims" name="{markup(item.claim.id)}"'
    if end is Outcome.PASSED:
        return opening + "/>\n"
    verdict, reason = item.judgement.verdict, item.judgement.reason
    message = "; ".join((f"{verdict}", *flags(item), *((reason,) if end is Outcome.SKIPPED else ())))
    kind = "" if end is Outcome.SKIPPED else f' type="{verdict}"'
    return f'{opening}>\n      <{end} message="{markup(message)}"{kind}>{markup(reason)}</{end}>\n    </testcase>\n'
