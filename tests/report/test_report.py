"""The report of the claims: its files, and the views they read."""

from __future__ import annotations

import json
import math
import re
import shlex
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audits.claims.claim import Claim, ClaimVerdict, JudgedClaim, Judgement, Kind, Scope
from audits.claims.hubrouter._figures import columns
from audits.claims.judged import NO_RUN, Report
from audits.claims.registry import all_claims
from audits.claims.views import kill_matrix, layer_costs, leak_worth, selection_attack
from audits.evidence.ledger import Evidence, Record
from audits.formatting import Table, number, perplexity
from audits.jsonable import json_text
from audits.report.claims.index import index_html, readme
from audits.report.claims.junit import junit, outcome
from audits.report.claims.kill_matrix import leaks_json
from audits.report.claims.marks import by_outcome, flags, tally_of
from audits.report.claims.marks import outcome as outcome_mark
from audits.report.claims.prose import ELSEWHERE, HEADLINES, answer, elsewhere
from audits.report.files import report_texts
from audits.report.render.escape import code
from audits.report.render.escape import markdown as markdown_text
from audits.report.render.junit import Outcome
from audits.report.render.templates import breakable
from audits.report.render.words import TIMING_NOTE

HOSTILE = "a <script>alert('x')</script> | b `c` & \x00 [d](e) *f*"
VOID = {"meta", "br", "link", "img", "input", "hr"}


def judged(identity="cost", verdict=ClaimVerdict.SUPPORTED, expected="same", **judgement):
    claim = Claim(identity, f"Statement of {identity}", "a paper", "the test", "the refutation", lambda _: None)
    text = {"reason": f"Reason of {identity}", "would_change": "more seeds", **judgement}
    return JudgedClaim(claim, "quick", Judgement(verdict, **text), verdict if expected == "same" else expected)


def influence(n=12, leak=0.0):
    return [
        [0.5 if source <= sink else (leak if source == sink + 1 else 0.0) for source in range(n)] for sink in range(n)
    ]


def training(arm, seed, nats, masked=None, steps=350, **result):
    routing = {"clean": "causal"}.get(arm, arm)
    config = {
        "pattern": "HH",
        "routing": routing,
        "steps": steps,
        "stage": "judged",
        "corpus": {"name": "tiny", "sha256": "00", "bytes": 9},
    }
    own = {
        "valid_nats": nats,
        "clean_mask_blocks": None if masked is None else [masked],
        "influence": influence(leak=0.1 if arm == "council" else 0.0),
    }
    return Record("language-model", config, seed, {**own, **result}, {}, 1.0)


def leak(name, leak_class="dense", named="dense", leaky="LEAK", clean="PASS"):
    result = {"leak_class": leak_class, "named": named, "mechanism": "m", "origin": "o"}
    return Record("kill-matrix", {"twin": name}, 0, {**result, "leaky": {"p": leaky}, "clean": {"p": clean}}, {}, 1.0)


def cost(layer, factor):
    rows = [{"n": n, "flops": factor * n, "ms_median": n / 7, "ms_low": n / 8, "ms_high": n / 6} for n in (256, 64)]
    slopes = {"flops_exponent": 1.0, "ms_exponent": {"slope": 1.1, "low": 1.0, "high": 1.2}}
    return Record("layer-cost", {"layer": layer}, 0, {"rows": rows, **slopes}, {}, 1.0)


def records():
    runs = [training(arm, seed, nats + seed / 100, masked) for arm, nats, masked in ARMS for seed in (0, 1, 2)]
    attack = Record("selection-attack", {}, 0, {"gradient": "PASS", "perturbation": "LEAK"}, {}, 1.0)
    return [
        *runs,
        leak("b-leak"),
        leak("a-leak", "state", None, "PASS", "LEAK"),
        cost("hub", 10),
        cost("attention", 30),
        attack,
    ]


ARMS = (("clean", 4.1, None), ("council", 4.0, 4.3), ("selection", 4.1, 4.1))


MEASURED = ("cost", "attack-council-worth", "attack-selection")  # the pages of these show more than their own runs


def sample(*claims):
    every = (*map(judged, MEASURED), judged("hub", ClaimVerdict.REFUTED))
    return Report(claims or every, Evidence(tuple(records())))


def pages(report, end):
    """All pages of one format, one text."""
    return "\n".join(text for name, text in report_texts(report).items() if name.endswith(end))


class Structure(HTMLParser):
    """Collects ids, links and unbalanced tags."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.tags, self.open, self.broken = [], [], set(), [], []
        self.feed(text)
        self.broken += self.open

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.add(tag)
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found[key] for key in ("href", "src") if key in found]
        self.open += [] if tag in VOID else [tag]

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.broken.append(tag)


def test_the_same_evidence_gives_the_same_bytes_whatever_the_order_of_its_records():
    report = sample()
    backwards = [replace(r, result=dict(reversed(r.result.items()))) for r in reversed(records())]
    assert report_texts(report) == report_texts(replace(report, evidence=Evidence(tuple(backwards))))


@pytest.mark.parametrize("end", [".md", ".html"])
def test_without_any_run_every_page_says_so(end):
    text = pages(Report(tuple(map(judged, MEASURED)), Evidence()), end)
    assert text.count(NO_RUN) >= 5
    assert "No claim has been judged yet" in pages(Report((), Evidence()), end)


def test_every_page_is_well_formed_loads_only_its_drawings_and_has_no_dead_link():
    texts = report_texts(sample())
    for name, text in texts.items():
        if not name.endswith(".html"):
            continue
        page, folder = Structure(text), Path(name).parent
        assert page.broken == [], name
        assert len(page.ids) == len(set(page.ids))
        assert page.links
        for link in page.links:
            target = str(Path(folder / link)).replace("claims/../", "")
            assert (link[0] == "#" and link[1:] in page.ids) or target in texts, link
        assert not page.tags & {"iframe", "object", "link", "svg"}


def test_every_link_of_the_markdown_pages_leads_to_a_file():
    texts = report_texts(sample())
    known = {*texts, "survey", "evidence"}
    for name in (name for name in texts if name.endswith(".md")):
        for link in re.findall(r"\]\(([^)]+)\)", texts[name]):
            assert str(Path(Path(name).parent / link)).replace("claims/../", "") in known, link


def test_every_claim_has_a_page_in_every_format_and_its_drawings_are_xml():
    texts = report_texts(sample())
    assert {f"claims/{name}.{end}" for name in MEASURED for end in ("md", "html", "json")} <= set(texts)
    drawings = {name: ET.fromstring(text) for name, text in texts.items() if name.endswith(".svg")}
    assert set(drawings) == {
        "claims/attack-council-worth-clean.svg",
        "claims/attack-council-worth-council.svg",
        "claims/attack-council-worth-perplexity.svg",
        "claims/cost-flops.svg",
        "claims/cost-time.svg",
    }


def test_hostile_text_stays_text_in_every_format():
    table = Table(HOSTILE, ("one", "two"), ((HOSTILE, HOSTILE),))
    item = judged("cost", reason=HOSTILE, would_change=HOSTILE, tables=(table,), evidence=("feed",))
    report = sample(replace(item, claim=replace(item.claim, statement=HOSTILE, published={HOSTILE: HOSTILE})))
    texts = report_texts(report)
    for name in ("claims.html", "claims/cost.html"):
        assert Structure(texts[name]).broken == []
        assert texts[name].count("<script") == (name == "claims.html")
    for name in ("README.md", "claims/cost.md"):
        assert "<script" not in texts[name].replace("\\<", "")
    assert "\x00" not in "".join(texts.values())
    assert json.loads(texts["claims.json"])["claims"][0]["reason"] == HOSTILE
    ET.fromstring(junit(sample(replace(item, expected=None))))


def test_a_markdown_table_keeps_its_number_of_cells_under_hostile_text():
    rows = [line for line in readme(sample(judged(reason=HOSTILE))).splitlines() if line.startswith("| [")]
    assert [len(re.split(r"(?<!\\)\|", row)) for row in rows] == [8]


def test_escapes_leave_nothing_with_a_meaning():
    assert breakable('<a b="c">&\'') == "&lt;a b=&#34;c&#34;&gt;&amp;&#39;"
    assert markdown_text("a|b\n<c>") == r"a\|b \<c\>"
    assert code("a`b") == "`` a`b ``"


def test_leaks_json_lists_leaks_by_name_with_both_verdicts():
    document = json.loads(leaks_json(sample()))
    assert set(document) == {"schema", "twins", "battery"}
    assert document["schema"] == 1
    assert [row["name"] for row in document["twins"]] == ["a-leak", "b-leak"]
    assert document["twins"][1]["leaky"] == {"p": "LEAK"}
    assert document["twins"][1]["clean"] == {"p": "PASS"}


def test_numbers_json_has_no_word_for_are_replaced():
    text = json_text({"a": math.nan, "b": [math.inf, -math.inf], "c": (1, True, None)})
    assert json.loads(text, parse_constant=pytest.fail) == {"a": None, "b": [1e308, -1e308], "c": [1, True, None]}


@pytest.mark.parametrize(
    ("item", "end"),
    [
        (judged(), Outcome.PASSED),
        (judged(verdict=ClaimVerdict.REFUTED), Outcome.PASSED),
        (judged(verdict=ClaimVerdict.REFUTED, expected=ClaimVerdict.SUPPORTED), Outcome.FAILURE),
        (judged(expected=None), Outcome.FAILURE),
        (judged(gate=False), Outcome.FAILURE),
        (judged(verdict=ClaimVerdict.INCONCLUSIVE), Outcome.SKIPPED),
        (judged(verdict=ClaimVerdict.NOT_TESTABLE), Outcome.SKIPPED),
        (judged(verdict=ClaimVerdict.NOT_TESTABLE, expected=ClaimVerdict.SUPPORTED), Outcome.FAILURE),
        (judged(verdict=ClaimVerdict.ERROR), Outcome.ERROR),
    ],
)
def test_junit_ends_a_claim_as_its_verdict_and_expectation_demand(item, end):
    assert outcome(item) is end
    suite = ET.fromstring(junit(sample(item)))[0]
    assert [child.tag for child in suite[0]] == ([] if end is Outcome.PASSED else [end])
    counted = {name: int(suite.get(name)) for name in ("failures", "errors", "skipped")}
    assert sum(counted.values()) == (end is not Outcome.PASSED)


def of_kind(kind, verdict, **judgement):
    item = judged(verdict=verdict, **judgement)
    return replace(item, claim=replace(item.claim, kind=kind))


WORDS = {
    Kind.PUBLISHED: ("reproduced", "not reproduced", "open", "not testable", "error"),
    Kind.ATTACK: ("succeeded", "failed", "open", "open", "error"),
    Kind.SELF_TEST: ("holds", "fails", "open", "open", "error"),
}


@pytest.mark.parametrize("kind", list(Kind))
def test_every_verdict_has_a_symbol_and_the_word_of_its_kind(kind):
    marks = [outcome_mark(of_kind(kind, verdict)) for verdict in ClaimVerdict]
    assert tuple(mark.word for mark in marks) == WORDS[kind]
    assert all(mark.symbol for mark in marks)
    assert outcome_mark(of_kind(kind, ClaimVerdict.NOT_TESTABLE, missing=True)).word == "open"


def test_a_claim_that_is_not_reproduced_is_not_shown_in_the_colour_of_a_failed_job():
    tones = {kind: outcome_mark(of_kind(kind, ClaimVerdict.REFUTED)).tone for kind in Kind}
    assert tones[Kind.PUBLISHED] != "fail"
    assert tones[Kind.SELF_TEST] == "fail"
    assert {flag.tone for flag in flags(judged(gate=False))} == {"fail"}


@pytest.mark.parametrize("render", [readme, index_html])
def test_a_verdict_that_is_not_as_expected_is_flagged_and_an_expected_one_is_not(render):
    assert "not as expected" in render(sample(judged(expected=ClaimVerdict.REFUTED)))
    assert "causality gate failed" in render(sample(judged(gate=False)))
    assert "not as expected" not in render(sample(judged()))
    assert flags(judged()) == ()


def test_claims_are_read_in_the_order_of_what_needs_attention():
    order = [ClaimVerdict.NOT_TESTABLE, ClaimVerdict.SUPPORTED, ClaimVerdict.REFUTED, ClaimVerdict.ERROR]
    items = tuple(judged(v.lower(), v) for v in order)
    assert [item.judgement.verdict for item in by_outcome(items)] == order[::-1]
    tally = "4 published claims: 1 error, 1 not reproduced, 1 reproduced, 1 not testable"
    assert tally_of(sample(*items), Kind.PUBLISHED) == tally


def test_what_only_another_machine_decides_names_claims_that_exist_and_goes_once_it_is_decided():
    words = [shlex.split(one.command) for one in ELSEWHERE if one.command]
    known = {claim.id for claim in all_claims()}
    for command in words:
        assert command[:2] == ["hubrouter-audit", "claims"]
        patterns = command[command.index("--only") + 1 :]
        assert patterns
        assert all(any(Path(name).match(pattern) for name in known) for pattern in patterns)
    bench = judged("throughput-90x", ClaimVerdict.NOT_TESTABLE)
    assert ELSEWHERE[0] in elsewhere(Report((bench,), Evidence()))
    decided = replace(bench, judgement=replace(bench.judgement, scope=Scope.PAPER))
    assert elsewhere(Report((decided,), Evidence())) == (ELSEWHERE[-1],)


def test_minimum_detectable_effect_seeds_and_tables_reach_both_documents():
    table = Table("Power", ("cells",), (("5/5 vs 3/5",),))
    item = judged(minimum_detectable_effect="2.1 PPL", seeds_needed=6, tables=(table,), evidence=("feed",))
    for end in (".md", ".html"):
        text = report_texts(sample(item))[f"claims/cost{end}"]
        assert "minimum detectable effect: 2.1 PPL; seeds needed: 6" in text
        assert "5/5 vs 3/5" in text
        assert "feed" in text


def test_a_claim_names_the_experiments_that_were_not_run():
    item = judged()
    needy = replace(item.claim, needs=("leak-worth", "hybrids"))
    missing = replace(item.judgement, missing=True)
    unrun = replace(item, claim=needy, judgement=missing)
    assert f"leak-worth, hybrids: {NO_RUN}" in report_texts(sample(unrun))["claims/cost.md"]
    assert "leak-worth, hybrids\n" in report_texts(sample(replace(item, claim=needy)))["claims/cost.md"]


def test_measured_times_stand_only_in_their_marked_section():
    for end in (".md", ".html"):
        before, _, after = report_texts(sample())[f"claims/cost{end}"].partition(TIMING_NOTE)
        assert number(256 / 7) not in before
        assert number(256 / 7) in after


def worth_of(*runs):
    return leak_worth(Report((), Evidence(runs)))


def test_the_answer_is_given_by_the_reasons_of_claims_that_have_runs():
    leak, routing = (judged(name, reason=f"What {name} found.") for name in HEADLINES)
    found = [f"What {name} found." for name in HEADLINES]
    tally, *said = answer(Report((routing, leak), Evidence()))
    assert tally == "2 claims of HubRouter (arXiv:2604.22442): 2 reproduced."
    assert said == found
    unrun = judged(HEADLINES[1], missing=True)
    assert answer(Report((leak, unrun), Evidence()))[1:] == (found[0],)
    assert NO_RUN in answer(Report((unrun,), Evidence()))[1]


def test_diverged_runs_are_left_out_of_a_mean_and_counted():
    worth = worth_of(training("clean", 0, 4.0), training("clean", 1, 9.0, diverged=True), training("clean", 2, None))
    (column,) = columns(worth)
    assert column.nats == 4.0
    assert column.left_out == 2


def test_the_setting_that_decided_a_claim_is_shown_before_a_longer_one():
    short, long = training("clean", 0, 4.0), training("clean", 0, 3.0, steps=9000)
    evidence = Evidence((short, long))
    assert leak_worth(Report((), evidence)).setting["steps"] == 9000
    chosen = leak_worth(Report((judged(evidence=(short.run,)),), evidence))
    assert (chosen.setting["steps"], chosen.other_settings) == (350, 1)


def test_views_read_the_records_as_they_are():
    report = sample()
    matrix = kill_matrix(report)
    assert [(row.name, row.killed, row.false_alarm) for row in matrix.leaks] == [
        ("b-leak", True, False),
        ("a-leak", False, True),
    ]
    assert [(c.layer, [p.n for p in c.points]) for c in layer_costs(report)] == [
        ("attention", [64, 256]),
        ("hub", [64, 256]),
    ]
    assert [(run.gradient, run.perturbation) for run in selection_attack(report)] == [("PASS", "LEAK")]
    assert "✗ missed" in report_texts(report)["kill-matrix.html"]


@pytest.mark.parametrize("word", ["pass", None, ["PASS"], 1])
def test_a_recorded_audit_without_a_verdict_never_reads_as_a_pass(word):
    worth = worth_of(training("clean", 0, 4.0, audit={"verdict": word}))
    assert worth.runs[0].audit is None
    report = Report((judged("attack-council-worth"),), Evidence((training("clean", 0, 4.0, audit={"verdict": word}),)))
    assert "not audited" in report_texts(report)["claims/attack-council-worth.md"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9999) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = (
    "valid_nats",
    "clean_mask_blocks",
    "influence",
    "audit",
    "leaky",
    "clean",
    "named",
    "rows",
    "ms_exponent",
    "gradient",
)
NAMES = ("language-model", "kill-matrix", "layer-cost", "selection-attack")


@settings(derandomize=True, max_examples=40, deadline=None)
@given(st.sampled_from(NAMES), st.dictionaries(st.sampled_from(KEYS), JSON), st.sampled_from(["causal", "council", 3]))
def test_records_of_any_shape_are_rendered(name, result, arm):
    record = Record(
        name, {"routing": arm, "stage": "judged", "pattern": "H", "twin": arm, "layer": arm}, 0, result, {}, 0.0
    )
    report = Report(tuple(map(judged, MEASURED)), Evidence((record,)))
    assert all(report_texts(report).values())


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "n/a"),
        (0.0, "0"),
        (-0.0, "0"),
        (math.nan, "not a number"),
        (math.inf, "infinite"),
        (3.2e-7, "3.2e-7"),
        (123456.0, "1.23e5"),
        (1288.4, "1288"),
        (0.0123, "0.0123"),
        (1.0, "1.00"),
    ],
)
def test_numbers_are_written_by_rule(value, text):
    assert number(value) == text


def test_perplexity_never_overflows():
    assert [perplexity(x) for x in (math.log(63.04), 1e6, None, math.inf)] == ["63.0", "beyond range", "n/a", "n/a"]
