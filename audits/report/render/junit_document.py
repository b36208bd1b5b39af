"""JUnit XML as continuous integration reads it: a suite of test cases, each passed, failed, in error or skipped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from audits.report.render.escape import markup


class Outcome(StrEnum):
    """How a test case ends, as JUnit names it."""

    PASSED = "passed"
    FAILURE = "failure"
    ERROR = "error"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Case:
    """One test case.

    Attributes:
        name: what was tested.
        outcome: how it ended.
        message: one line on why, for every outcome but PASSED.
        kind: the type of a failure or error.
        text: the whole story.
        seconds: how long it took; None leaves it out, so that the document does not differ from run to run.
    """

    name: str
    outcome: Outcome
    message: str = ""
    kind: str = ""
    text: str = ""
    seconds: float | None = None


def junit_document(suite: str, cases: Sequence[Case]) -> str:
    """The document: one suite, whose name is also the class name of its cases."""
    ends = [case.outcome for case in cases]
    counts = f'tests="{len(ends)}" failures="{ends.count(Outcome.FAILURE)}" errors="{ends.count(Outcome.ERROR)}"'
    counts += f' skipped="{ends.count(Outcome.SKIPPED)}"'
    name = markup(suite)
    shown = "".join(_case(name, case) for case in cases)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<testsuites name="{name}" {counts}>\n'
        f'  <testsuite name="{name}" {counts}>\n{shown}  </testsuite>\n</testsuites>\n'
    )


def _case(class_name: str, case: Case) -> str:
    """One test case; `class_name` is markup already."""
    time = "" if case.seconds is None else f' time="{max(case.seconds, 0.0):.3f}"'
    opening = f'    <testcase classname="{class_name}" name="{markup(case.name)}"{time}'
    if case.outcome is Outcome.PASSED:
        return opening + "/>\n"
    kind = "" if case.outcome is Outcome.SKIPPED else f' type="{markup(case.kind)}"'
    why = f'<{case.outcome} message="{markup(case.message)}"{kind}>{markup(case.text)}</{case.outcome}>'
    return f"{opening}>\n      {why}\n    </testcase>\n"
