"""One audit for continuous integration: JUnit XML as its readers read it, and a badge."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from junitparser import Error, Failure, JUnitXml, Skipped

from audits.report.audit.badge import badge
from audits.report.audit.junit import audit_junit
from audits.results import AuditResult, Finding, LeakClass, ProbeResult, Site, Verdict

FINDING = Finding(
    "perturbation", LeakClass.SELECTION, Site(40, 0), Site(33, 0), 0.43, 1e-15, file="m.py", line=3, reproduce="run me"
)
LEAK = ProbeResult("perturbation", Verdict.LEAK, "moved <the past> & more", 190, 0.4)
PASS = ProbeResult("gradient", Verdict.PASS, "no gradient", 20, 0.1)
BLIND = ProbeResult("isolation", Verdict.UNDETERMINED, "rows cannot be batched", 2, 0.0)
ABSENT = ProbeResult("decode", Verdict.UNDETERMINED, "no streaming path", 0, 0.0, applicable=False)
RESULT = AuditResult("m.py:f", Verdict.LEAK, (FINDING,), (LEAK, PASS, BLIND, ABSENT))


def cases(result: AuditResult):
    (suite,) = JUnitXml.fromstring(audit_junit(result).encode())
    return suite, {case.name: case for case in suite}


def test_every_probe_is_a_test_case_counted_as_it_ended():
    suite, found = cases(RESULT)
    assert list(found) == ["perturbation", "gradient", "isolation", "decode"]
    assert (suite.name, suite.tests, suite.failures, suite.errors, suite.skipped) == ("m.py:f", 4, 1, 1, 1)


def test_a_leak_is_a_failure_with_what_where_and_a_line_to_reproduce():
    (failure,) = cases(RESULT)[1]["perturbation"].result
    assert isinstance(failure, Failure)
    assert failure.type == "selection"
    assert "position 33, row 0 depends on position 40" in failure.message
    for words in ("moved <the past> & more", "where: ", "m.py:3", "reproduce: run me"):
        assert words in failure.text


def test_a_leak_without_a_finding_of_its_own_still_fails():
    (failure,) = cases(replace(RESULT, findings=()))[1]["perturbation"].result
    assert isinstance(failure, Failure)
    assert failure.message == LEAK.why


def test_a_probe_that_could_not_decide_is_an_error_and_one_with_nothing_to_look_at_is_skipped_with_reason():
    found = cases(RESULT)[1]
    (undecided,), (absent,) = found["isolation"].result, found["decode"].result
    assert isinstance(undecided, Error)
    assert undecided.message == "rows cannot be batched"
    assert isinstance(absent, Skipped)
    assert absent.message == "no streaming path"


def test_only_a_pass_is_green():
    for probe in (LEAK, BLIND, ABSENT):
        assert not cases(replace(RESULT, probes=(probe,)))[1][probe.name].is_passed
    assert cases(RESULT)[1]["gradient"].is_passed


def test_the_badge_names_the_classes_of_a_leak_once_each():
    found = (FINDING, replace(FINDING, probe="decode"), replace(FINDING, leak_class=LeakClass.BATCH))
    document = json.loads(badge(replace(RESULT, findings=found)))
    assert document == {
        "schemaVersion": 1,
        "label": "causality",
        "message": "LEAK: selection, batch",
        "color": "red",
    }


@pytest.mark.parametrize(("verdict", "colour"), [(Verdict.PASS, "brightgreen"), (Verdict.UNDETERMINED, "yellow")])
def test_the_badge_is_green_for_a_pass_alone(verdict, colour):
    document = json.loads(badge(replace(RESULT, verdict=verdict, findings=())))
    assert (document["message"], document["color"]) == (verdict, colour)
