"""JUnit XML as continuous integration reads it: a suite of test cases, each passed, failed, in error or skipped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from xml.etree import ElementTree  # not junitparser: `model --junit` must work in an install without extras

from audits.report.render.escape import printable


class Outcome(StrEnum):
    """How a test case ends: the name of its element."""

    PASSED = "passed"
    FAILURE = "failure"
    ERROR = "error"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Case:
    """One test case; `kind` is the type of a failure or error, `seconds` of None are left out."""

    name: str
    outcome: Outcome
    message: str = ""
    kind: str = ""
    text: str = ""
    seconds: float | None = None


def junit_document(suite: str, cases: Sequence[Case]) -> str:
    """The document: one suite, whose name is also the class name of its cases."""
    names = {"failures": Outcome.FAILURE, "errors": Outcome.ERROR, "skipped": Outcome.SKIPPED}
    counts = {name: str(sum(case.outcome is end for case in cases)) for name, end in names.items()}
    attributes = {"name": printable(suite), "tests": str(len(cases)), **counts}
    document = ElementTree.Element("testsuites", attributes)
    inner = ElementTree.SubElement(document, "testsuite", attributes)
    for case in cases:
        time = {} if case.seconds is None else {"time": f"{max(case.seconds, 0.0):.3f}"}
        named = {"classname": printable(suite), "name": printable(case.name)}
        shown = ElementTree.SubElement(inner, "testcase", named | time)
        if case.outcome is not Outcome.PASSED:
            kind = {} if case.outcome is Outcome.SKIPPED else {"type": printable(case.kind)}
            why = {"message": printable(case.message), **kind}
            ElementTree.SubElement(shown, case.outcome, why).text = printable(case.text)
    ElementTree.indent(document)
    text = ElementTree.tostring(document, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'
