"""JUnit XML as continuous integration reads it: a suite of test cases, each passed, failed, in error or skipped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from xml.etree import ElementTree  # not junitparser: `model --junit` must work in an install without extras

from audits.report.render.escape import printable


class Outcome(StrEnum):
    """How a test case ends, as JUnit names it."""

    PASSED = "passed"
    FAILURE = "failure"
    ERROR = "error"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Case:
    """One test case; `kind` is the type of a failure or error.

    `seconds` of None is left out, so that the document does not differ from run to run.
    """

    name: str
    outcome: Outcome
    message: str = ""
    kind: str = ""
    text: str = ""
    seconds: float | None = None


def junit_document(suite: str, cases: Sequence[Case]) -> str:
    """The document: one suite, whose name is also the class name of its cases."""
    ends = Counter(case.outcome for case in cases)
    names = {"failures": Outcome.FAILURE, "errors": Outcome.ERROR, "skipped": Outcome.SKIPPED}
    attributes = {"name": printable(suite), "tests": str(len(cases))}
    attributes |= {name: str(ends[outcome]) for name, outcome in names.items()}
    document = ElementTree.Element("testsuites", attributes)
    inner = ElementTree.SubElement(document, "testsuite", attributes)
    for case in cases:
        _add(inner, suite, case)
    ElementTree.indent(document)
    text = ElementTree.tostring(document, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _add(parent: ElementTree.Element, suite: str, case: Case) -> None:
    attributes = {"classname": printable(suite), "name": printable(case.name)}
    if case.seconds is not None:
        attributes["time"] = f"{max(case.seconds, 0.0):.3f}"
    shown = ElementTree.SubElement(parent, "testcase", attributes)
    if case.outcome is not Outcome.PASSED:
        why = {"message": printable(case.message)}
        why |= {} if case.outcome is Outcome.SKIPPED else {"type": printable(case.kind)}
        ElementTree.SubElement(shown, case.outcome, why).text = printable(case.text)
