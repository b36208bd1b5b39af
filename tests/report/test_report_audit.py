"""One audit as SARIF, as a page and in a terminal; and the influence map that all reports share."""

from __future__ import annotations

import io
import json
import math
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft4Validator
from rich.console import Console

from audits.auditor.audit import explain
from audits.auditor.presets import QUICK
from audits.claims.claim import Claim, ClaimVerdict, JudgedClaim, Judgement
from audits.claims.judged import NO_RUN, Report
from audits.evidence.ledger import Evidence, Record
from audits.probes._registry import all_probes
from audits.report.audit.console import print_audit, print_finding
from audits.report.audit.html import audit_html
from audits.report.audit.sarif import fingerprint, sarif
from audits.report.claims.console import print_claims, print_kill_matrix
from audits.report.render.influence import LARGEST, LEVELS, influence_map, largest_future, levels, pooled
from audits.results import AuditResult, Finding, LeakClass, ProbeResult, Site, TraceStep, Verdict

BASE = Path("/project")
SNAPSHOT = Path(__file__).parent / "data" / "terminal.txt"
# The schema of SARIF 2.1.0, in the release that sarif-om 1.0.4 was made from (tests/report/data/README.md).
SCHEMA = Draft4Validator(json.loads((Path(__file__).parent / "data" / "sarif-2.1.0-rtm.4.json").read_bytes()))
FINDING = Finding(
    probe="perturbation",
    leak_class=LeakClass.SELECTION,
    source=Site(40, 0),
    sink=Site(33, 0),
    effect=0.43,
    noise_floor=1e-15,
    module="layers.1",
    file="/project/model/a file.py",
    line=88,
    reproduce="hubrouter-audit model m:f --seed 0",
)
PROBES = (
    ProbeResult("perturbation", Verdict.LEAK, "moved [red]the past[/red]", 190, 0.4),
    ProbeResult("decode", Verdict.UNDETERMINED, "no streaming path", 0, 0.0, applicable=False),
)
RESULT = AuditResult("m.py:f", Verdict.LEAK, (FINDING,), PROBES, {"seed": 0, "rate": 0.5}, {"torch": "2"})


def location(finding, target="m.py:f"):
    run = json.loads(sarif(replace(RESULT, target=target, findings=(finding,)), BASE))["runs"][0]
    return run["results"][0]["locations"]


def test_sarif_has_a_rule_for_every_leak_class_and_each_result_points_at_its_own():
    document = json.loads(sarif(RESULT, BASE))
    run = document["runs"][0]
    rules = run["tool"]["driver"]["rules"]
    assert document["version"] == "2.1.0"
    assert [rule["id"] for rule in rules] == [f"causality/{leak_class}" for leak_class in LeakClass]
    assert rules[run["results"][0]["ruleIndex"]]["id"] == run["results"][0]["ruleId"] == "causality/selection"


def test_a_fingerprint_survives_another_effect_size_and_position_but_not_another_place():
    same = replace(FINDING, probe="x", effect=9.0, noise_floor=0.1, source=Site(1), line=3)
    assert fingerprint("t", same) == fingerprint("t", FINDING)
    for other in (
        replace(FINDING, module="x"),
        replace(FINDING, leak_class=LeakClass.DENSE),
    ):
        assert fingerprint("t", other) != fingerprint("t", FINDING)
    assert fingerprint("u", FINDING) != fingerprint("t", FINDING)


def test_a_fingerprint_does_not_depend_on_which_of_equal_layers_was_seen_to_leak():
    first, third, other = (replace(FINDING, module=f"layers.{name}") for name in ("0.mix", "2.mix", "0.mix2"))
    assert fingerprint("t", first) == fingerprint("t", third) != fingerprint("t", other)


def marks(findings, target="m.py:f", base=BASE):
    results = json.loads(sarif(replace(RESULT, target=target, findings=findings), base))["runs"][0]["results"]
    return [result["partialFingerprints"]["primaryLocationLineHash"] for result in results]


def test_the_fingerprint_a_code_host_reads_survives_a_shifted_line_another_seed_and_another_checkout():
    moved = replace(FINDING, line=FINDING.line + 40, op="sort", source=Site(41, 1), effect=7.0, reproduce="--seed 9")
    assert marks((moved,)) == marks((FINDING,))
    assert marks((FINDING,), "/elsewhere/m.py:f", Path("/elsewhere")) == marks((FINDING,))


TRACE = (TraceStep("token", position=40), TraceStep("mean", "model/a.py", 9, 40), TraceStep("output", position=33))


def test_sarif_leads_from_the_token_to_the_output():
    document = json.loads(sarif(replace(RESULT, findings=(replace(FINDING, trace=TRACE),)), BASE))
    assert [error.message for error in SCHEMA.iter_errors(document)] == []
    (flow,) = document["runs"][0]["results"][0]["codeFlows"]
    assert flow["message"]["text"] == "token 40 -> mean model/a.py:9 -> output 33"
    steps = [step["location"] for step in flow["threadFlows"][0]["locations"]]
    assert [step.get("physicalLocation", {}).get("region") for step in steps] == [None, {"startLine": 9}, None]
    assert [step["message"]["text"] for step in steps] == [
        "token, position 40",
        "mean, position 40",
        "output, position 33",
    ]


def test_json_holds_the_way_step_by_step():
    (found,) = json.loads(replace(RESULT, findings=(replace(FINDING, trace=TRACE),)).to_json())["findings"]
    assert found["trace"][1] == {"op": "mean", "file": "model/a.py", "line": 9, "position": 40}


@pytest.fixture
def placed(tmp_path):
    """A finding whose source can be read."""
    file = tmp_path / "model.py"
    file.write_text("def f(x):\n    return x.mean(1)\n\n")
    trace = (TRACE[0], TraceStep("mean", str(file), 2, 40), TRACE[2])
    return replace(FINDING, file=str(file), line=2, op="mean", probes=("perturbation", "gradient"), trace=trace)


def test_every_report_shows_all_probes_the_source_line_and_what_a_finding_means(placed):
    result = replace(RESULT, findings=(placed,))
    for text in (printed(print_audit, result, 300), audit_html(result).replace("&gt;", ">"), explain(result)):
        for words in ("perturbation, gradient", "> 2 |     return x.mean(1)", "better than the model can be"):
            assert words in text


def test_the_page_leads_from_the_token_to_the_output_and_marks_the_line_where_it_crosses(placed):
    items = re.findall(r"<li([^>]*)>(.*?)</li>", audit_html(replace(RESULT, findings=(placed,))), re.DOTALL)
    (crossing,) = [text for attributes, text in items if "here" in attributes]
    assert "<b>mean</b>" in crossing
    assert "position 40" in crossing
    assert "return x.mean(1)" in crossing
    assert any("<b>output</b>" in text and "position 33" in text for _, text in items)


LONG = tuple(TraceStep(f"operation_{n}", "some/where/in/a/deep/folder.py", n, n) for n in range(40))


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("leak_class", LeakClass)
def test_a_finding_takes_twelve_lines_of_a_terminal_at_most(placed, leak_class, width):
    wordy = replace(placed, leak_class=leak_class, trace=LONG, module="model.layers.11.attention")
    lines = printed(partial(print_finding, 1), replace(wordy, probes=QUICK), width).splitlines()
    assert len(lines) <= 12
    assert any(line.strip().startswith("reproduce: hubrouter-audit") for line in lines)


def test_of_a_long_way_the_terminal_shows_its_ends_and_what_is_around_the_line_named(placed):
    steps = [TraceStep("a"), *LONG[:9], placed.trace[1], *LONG[9:], TraceStep("z")]
    text = printed(partial(print_finding, 1), replace(placed, trace=tuple(steps)))
    assert "way: a → … → operation_8 → mean → operation_9 → … → z\n" in text
    assert "way: token → mean → output\n" in printed(partial(print_finding, 1), placed)


def test_findings_after_the_third_take_one_line_each(placed):
    found = tuple(replace(placed, source=Site(40 + n)) for n in range(6))
    lines = printed(print_audit, replace(RESULT, findings=found), 200).splitlines()
    further = [line for line in lines if line.startswith(("4. ", "5. ", "6. "))]
    assert [line.split(";")[0] for line in further] == [
        f"{n}. selection: the output at position 33, row 0 depends on position {39 + n}" for n in (4, 5, 6)
    ]
    assert sum("reproduce:" in line for line in lines) == 3


def test_the_terminal_shows_an_audit_as_the_committed_text_does(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("running_mean.py").write_text("class Mixer(nn.Module):\n    def forward(self, x):\n        return x.mean(1)\n")
    trace = (TRACE[0], TraceStep("mean", "running_mean.py", 3, 40), TRACE[2])
    found = replace(FINDING, file="running_mean.py", line=3, op="mean", probes=QUICK, trace=trace)
    settings = {"seq_len": 96, "batch": 32, "dtype": "float64", "left_out": ["gradient"]}
    shown = printed(print_audit, replace(RESULT, findings=(found,) * 4, settings=settings), 100)
    assert "\n".join(line.rstrip() for line in shown.splitlines()) + "\n" == SNAPSHOT.read_text(encoding="utf-8")


def test_a_dependence_on_the_length_is_not_announced_as_reading_the_future():
    result = replace(RESULT, findings=(replace(FINDING, probe="prefix-length", leak_class=LeakClass.LENGTH),))
    text = printed(print_audit, result, 300)
    assert "No later token is read" in text
    assert "changes when the sequence is cut at position 40" in text


def test_two_findings_at_one_place_keep_two_fingerprints():
    first, second = marks((FINDING, replace(FINDING, source=Site(2), sink=Site(1))))
    assert first.rpartition(":")[0] == second.rpartition(":")[0]
    assert (first[-2:], second[-2:]) == (":1", ":2")


def test_a_file_inside_the_folder_is_relative_and_one_outside_an_address():
    place = location(FINDING)[0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "model/a%20file.py", "uriBaseId": "%SRCROOT%"}
    assert place["region"] == {"startLine": 88}
    outside = location(replace(FINDING, file="/project-two/b.py"))[0]["physicalLocation"]
    assert outside["artifactLocation"] == {"uri": "file:///project-two/b.py"}
    assert (
        location(replace(FINDING, file="../b.py"))[0]["physicalLocation"]["artifactLocation"]["uri"] == "file:///b.py"
    )


def test_a_finding_without_a_file_points_at_the_file_its_target_names():
    nowhere = replace(FINDING, file=None, line=None)
    assert location(nowhere)[0]["physicalLocation"]["artifactLocation"]["uri"] == "m.py"
    place = location(nowhere, "package.m:f")[0]
    assert place["physicalLocation"]["artifactLocation"] == {"uri": "package/m.py", "uriBaseId": "%SRCROOT%"}
    assert place["physicalLocation"]["region"] == {"startLine": 1}
    assert place["logicalLocations"][0]["fullyQualifiedName"] == "layers.1"


def test_a_dotted_target_points_at_the_file_that_is_there(tmp_path):
    package = tmp_path / "src" / "package"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    result = replace(RESULT, target="package:f", findings=(replace(FINDING, file=None),))
    found = json.loads(sarif(result, tmp_path))["runs"][0]["results"][0]["locations"][0]["physicalLocation"]
    assert found["artifactLocation"]["uri"] == "src/package/__init__.py"


@pytest.mark.parametrize(
    "finding",
    [
        FINDING,
        replace(FINDING, file=None, line=None, module=None, op=None, reproduce=""),
        replace(FINDING, file="/project-two/b.py", line=0, effect=math.inf, noise_floor=math.nan),
        replace(FINDING, module="\ud800 \x00 <b>", file="a\udcff b.py"),
    ],
    ids=["placed", "placeless", "outside", "odd characters"],
)
@pytest.mark.parametrize("target", ["m.py:f", "package.m:f", "Sequential", ""])
def test_sarif_obeys_the_schema_and_what_a_code_host_asks_beyond_it(finding, target):
    document = json.loads(sarif(replace(RESULT, target=target, findings=(finding, finding)), BASE))
    assert [error.message for error in SCHEMA.iter_errors(document)] == []
    for result in document["runs"][0]["results"]:
        assert result["message"]["text"]
        assert result["partialFingerprints"]["primaryLocationLineHash"]
        (place,) = result["locations"]
        uri = place["physicalLocation"]["artifactLocation"]["uri"]
        assert uri
        assert uri.isascii()
        assert ("uriBaseId" in place["physicalLocation"]["artifactLocation"]) != uri.startswith("file:///")
        assert place["physicalLocation"]["region"]["startLine"] >= 1
    for rule in document["runs"][0]["tool"]["driver"]["rules"]:
        assert 0 < len(rule["fullDescription"]["text"]) <= 1024
        assert rule["help"]["text"]


def test_the_schema_refuses_a_document_that_breaks_it():
    document = json.loads(sarif(RESULT, BASE))
    del document["runs"][0]["results"][0]["message"]
    assert list(SCHEMA.iter_errors(document))
    document["runs"][0]["tool"]["driver"]["rule"] = []
    assert len(list(SCHEMA.iter_errors(document))) == 2


def test_sarif_never_holds_a_number_json_has_no_word_for():
    text = sarif(replace(RESULT, findings=(replace(FINDING, effect=math.inf, noise_floor=math.nan),)), BASE)
    result = json.loads(text, parse_constant=pytest.fail)["runs"][0]["results"][0]
    assert result["properties"] == {"probe": "perturbation", "probes": ["perturbation"]}


def test_sarif_says_which_probes_could_not_decide():
    notes = json.loads(sarif(RESULT, BASE))["runs"][0]["invocations"][0]["toolExecutionNotifications"]
    assert [note["message"]["text"] for note in notes] == ["Probe decode decided nothing: no streaming path"]


MAP = ((1.0, 0.5), (1.0, 1.0))


def test_the_page_of_an_audit_tells_verdict_place_and_limits_and_draws_a_map_first_where_there_is_one():
    page = audit_html(RESULT).replace("<wbr>", "")
    for words in ("✗ LEAK", "/project/model/a file.py:88", "hubrouter-audit model m:f --seed 0", "NOT APPLICABLE"):
        assert words in page
    assert "What a PASS does not prove" in page
    assert "<svg" not in page
    drawn = audit_html(RESULT, MAP)
    assert 0 < drawn.index("<svg") < drawn.index('id="findings"')
    assert "no time" in audit_html(RESULT, no_map="no time")


def test_the_page_says_where_a_map_does_not_show_the_leak_or_shows_rounding_alone():
    still = "does not show here"
    assert still in audit_html(RESULT, ((1.0, 0.0), (1.0, 1.0)))
    assert still not in audit_html(RESULT, MAP)
    clean = replace(RESULT, verdict=Verdict.PASS, findings=())
    assert "is rounding" in audit_html(clean, ((1.0, 1e-17), (1.0, 1.0)))
    assert "at 2 positions, the audit at 300" in audit_html(replace(clean, settings={"seq_len": 300}), MAP)


def test_the_page_of_a_clean_audit_says_what_was_covered_and_what_was_not_and_why():
    settings = {"seq_len": 96, "batch": 32, "dtype": "float64", "vocab_size": 50, "outputs": ["the first"]}
    settings |= {"not_judged": ["cache"], "left_out": ["gradient"], "preset": "quick"}
    probes = (replace(PROBES[0], verdict=Verdict.PASS, why="9 cuts tried"), PROBES[1])
    page = audit_html(replace(RESULT, verdict=Verdict.PASS, findings=(), probes=probes, settings=settings))
    assert 'id="findings"' not in page
    covered = page.partition('id="covered"')[2].partition("</section>")[0]
    terms = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", covered))
    assert terms["Run"] == "96 positions, 32 rows at most, float64 arithmetic, 190 forward passes, 0.4 s"
    assert terms["Probes that concluded"] == f"1 of {len(all_probes())}: perturbation"
    assert terms["Inputs"] == "tokens of a vocabulary of 50"
    assert terms["Returned, not judged"] == "cache"
    assert (terms["decode"], terms["gradient"]) == ("no streaming path", "left out by the preset quick")
    assert "9 cuts tried" in page


def test_times_stand_under_a_note_that_they_differ():
    before, _, after = audit_html(replace(RESULT, settings={})).partition("differs from run to run")
    assert "<dd>0.40</dd>" in after
    assert "<dd>0.40</dd>" not in before


def printed(show, subject, width=100):
    buffer = io.StringIO()
    show(subject, Console(file=buffer, width=width))
    return buffer.getvalue()


def test_the_terminal_shows_foreign_text_as_it_is_and_the_line_to_reproduce():
    text = printed(print_audit, RESULT)
    assert "[red]the past[/red]" in text
    assert "reproduce: hubrouter-audit model m:f --seed 0" in text
    assert "does not prove" not in text


@pytest.mark.parametrize("verdict", [Verdict.PASS, Verdict.UNDETERMINED])
def test_the_terminal_explains_what_a_pass_does_not_prove(verdict):
    assert "What a PASS does not prove" in printed(print_audit, replace(RESULT, verdict=verdict, findings=()))


def report(*records):
    claim = Claim("cost", "s", "p", "t", "r", lambda _: None)
    item = JudgedClaim(claim, "quick", Judgement(ClaimVerdict.SUPPORTED, "because [b]", "w"), ClaimVerdict.REFUTED)
    return Report((item,), Evidence(records))


def test_the_terminal_lists_claims_with_flags():
    judged = report()
    text = printed(lambda shown, console: print_claims(shown, console, Path("reports/README.md"), shown.judged), judged)
    assert "✓ reproduced" in text
    assert "because [b]" in text
    assert "not as expected" in text
    assert text.endswith("report: reports/README.md\n")


def test_the_terminal_kill_matrix_tells_a_seen_leak_from_an_unseen_one_and_a_false_alarm():
    verdicts = {"leaky": {"p": "LEAK", "q": "PASS"}, "clean": {"p": "PASS", "q": "LEAK"}}
    record = Record("kill-matrix", {"twin": "mask"}, 0, {"leak_class": "dense", "named": "dense", **verdicts}, {}, 1.0)
    text = printed(print_kill_matrix, report(record))
    assert "● ✓" in text
    assert "· !" in text
    assert "sees 1 of 1 planted leaks" in text
    assert NO_RUN in printed(print_kill_matrix, report())


def causal(n):
    return tuple(tuple(1.0 if source <= sink else 0.0 for source in range(n)) for sink in range(n))


def planted(n, sink, source, value):
    return tuple(
        tuple(value if (i, j) == (sink, source) else x for j, x in enumerate(row)) for i, row in enumerate(causal(n))
    )


def test_a_causal_map_draws_nothing_in_the_future():
    drawing = influence_map("m", "clean", causal(9), 1.0)
    painted = {e.get("class") for e in ET.fromstring(drawing).iter() if e.tag.endswith("path")}
    assert not any(style.startswith("future") for style in painted)
    assert "exactly 0" in drawing


def test_the_faintest_future_influence_is_drawn_and_told():
    drawing = influence_map("m", "leaky", planted(9, 2, 7, 1e-300), 1.0)
    painted = [e for e in ET.fromstring(drawing).iter() if e.get("class") == "future0" and e.tag.endswith("path")]
    assert len(painted) == 1
    assert "largest: 1e-300" in drawing
    assert "exactly 0" not in drawing


def test_pooling_a_long_map_loses_no_needle():
    _, future = pooled(planted(300, 17, 31, 0.25))
    assert future.shape == (100, 100)
    assert len(future) <= LARGEST
    assert future[future > 0].tolist() == [0.25]
    assert future[17 // 3, 31 // 3] == 0.25


def test_an_input_at_the_outputs_own_position_is_not_its_future():
    assert largest_future(causal(4)) == 0
    assert largest_future(planted(4, 1, 2, 0.5)) == 0.5


def test_colours_step_once_a_decade():
    values = np.array([1.0, 0.2, 0.09, 1e-7, 1e-30, 0.0])
    assert levels(values, 1.0).tolist() == [LEVELS - 1, LEVELS - 1, LEVELS - 2, 0, 0, -1]


def test_the_picture_of_a_finding_fetches_nothing_and_names_the_line():
    picture = (Path(__file__).parents[2] / "docs" / "pictures" / "finding.svg").read_text(encoding="utf-8")
    assert "@font-face" not in picture
    words = "".join(ET.fromstring(picture).itertext()).replace("\xa0", " ")
    assert "✗ LEAK" in words
    assert "where: audits/leaks/hub_selection_in_chunk.py:" in words
