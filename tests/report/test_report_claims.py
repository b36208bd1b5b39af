"""A claim in the report: its card, its tiers, where it comes from, what is stale, and the published schema."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import msgspec
import pytest
from jsonschema import Draft202012Validator
from report_samples import ADDRESSES, DOTS, RUNS, at, every_kind, record

from audits.claims.claim import PRINTED, ClaimVerdict, Kind
from audits.claims.figures import DotColumn
from audits.claims.judged import Report
from audits.claims.provenance import duration, facts, provenance, reproduce, runs_table
from audits.evidence.ledger import Evidence
from audits.jsonable import json_text
from audits.report.claims.html import html
from audits.report.claims.html_claims import claim_section, claims_table
from audits.report.claims.json import claims_json
from audits.report.claims.junit import junit, outcome
from audits.report.claims.markdown import LIMIT, markdown, step_summary
from audits.report.claims.prose import expectation_sentence, limits_of
from audits.report.claims.schema import Document, claims_schema
from audits.report.render.junit import Outcome

GAIN, OLD, OPEN, UNTESTABLE, UNRUN = every_kind().judged
STALE = at("old", "quick", ClaimVerdict.SUPPORTED, ClaimVerdict.REFUTED, evidence=ADDRESSES, stale=ADDRESSES[:1])


def only(item, *records):
    return Report((item,), Evidence(records or RUNS))


def ids(text):
    return re.findall(r' id="([^"]+)"', text)


def test_a_card_shows_everything_that_is_known_of_its_claim():
    card = claim_section(every_kind(), GAIN)
    for words in (
        "Statement of gain", "perplexity: 200.2", "tier full", "Reason of gain at full", "more seeds", "Test of gain",
        "Refutation of gain", "a paper", "hubrouter-audit claims --tier full --only gain", "0123456789ab",
        "A processor", "torch 2", "270 seconds", "clean, seed 0: 43.10", "1 diverged", "Reason of gain at quick",
        "Hours on two cores", *ADDRESSES,
    ):  # fmt: skip
        assert words in card.replace("4.50 minutes", "270 seconds").replace("4.5 minutes", "270 seconds"), words
    assert card.count("<svg") == 3


def test_a_card_says_what_could_have_been_detected():
    assert "minimum detectable effect: 2.1 PPL; seeds needed: 9" in claim_section(every_kind(), OPEN)


def test_figures_of_two_tiers_have_ids_of_their_own():
    found = ids(html(every_kind()))
    assert len(found) == len(set(found))


def test_a_stale_claim_is_marked_in_every_format_and_fails_in_none():
    report = only(STALE)
    assert '<span class="badge stale">stale</span>' in html(report)
    assert "**(stale)**" in markdown(report)
    assert json.loads(claims_json(report))["claims"][0]["stale"] == [ADDRESSES[0]]
    assert json.loads(claims_json(report))["claims"][0]["as_expected"] is True
    assert "not as expected" not in html(report) + markdown(report)
    assert report.unexpected == ()


def test_a_fresh_claim_is_marked_stale_nowhere():
    report = only(GAIN)
    assert "badge stale" not in html(report)
    assert "(stale)" not in markdown(report)


@pytest.mark.parametrize(
    ("item", "end"),
    [
        (GAIN, Outcome.PASSED),
        (STALE, Outcome.SKIPPED),
        (OLD, Outcome.SKIPPED),
        (UNRUN, Outcome.SKIPPED),
        (replace(UNRUN, expected=ClaimVerdict.SUPPORTED), Outcome.SKIPPED),
        (replace(GAIN, others=(replace(GAIN.others[0], expected=ClaimVerdict.REFUTED),)), Outcome.FAILURE),
        (replace(STALE, others=(replace(GAIN.others[0], expected=ClaimVerdict.REFUTED),)), Outcome.FAILURE),
        (replace(GAIN, others=(at("gain", "quick", ClaimVerdict.ERROR),)), Outcome.ERROR),
    ],
)
def test_junit_skips_stale_and_missing_evidence_and_fails_for_a_lower_tier_too(item, end):
    assert outcome(item) is end
    case = ET.fromstring(junit(only(item)))[0][0]
    assert [child.tag for child in case] == ([] if end is Outcome.PASSED else [end])
    assert all(child.get("message") for child in case)


def test_junit_names_the_stale_runs():
    message = ET.fromstring(junit(only(STALE)))[0][0][0].get("message")
    assert "stale" in message
    assert ADDRESSES[0] in message
    assert ADDRESSES[1] not in message


def test_a_lower_tier_that_is_not_as_expected_is_flagged_with_its_tier():
    item = replace(GAIN, others=(replace(GAIN.others[0], expected=ClaimVerdict.REFUTED),))
    assert "tier quick: not as expected" in html(only(item))
    assert "tier quick: not as expected" in markdown(only(item))


def test_how_many_verdicts_are_stale_is_said_at_the_top():
    assert "1 verdict rests on stale evidence" in expectation_sentence(only(STALE))
    assert "stale" not in expectation_sentence(only(GAIN))


def test_provenance_sums_up_the_runs_whatever_their_order():
    origin = provenance(only(GAIN), GAIN)
    assert origin == provenance(only(GAIN, *reversed(RUNS)), GAIN)
    assert (origin.seconds, origin.commits, origin.absent) == (270.0, ("0123456789ab",), ())
    assert dict(facts(origin))["Recorded"] == "2026-01-01 to 2026-01-03"
    assert dict(facts(origin))["Stale or fresh"] == "fresh: 3 runs of today's code"
    assert dict(facts(origin))["Machine"] == "Linux, A processor, 2 cores"


def test_a_run_that_is_stale_or_not_in_the_ledger_is_said_to_be():
    item = replace(GAIN, stale=ADDRESSES[:1])
    named = dict(facts(provenance(only(item, RUNS[0]), item)))
    assert named["Stale or fresh"].startswith("stale: the code of 1 of 3 deciding runs has changed since")
    assert all(run in named["Not in the ledger"] for run in ADDRESSES[1:])
    rows = runs_table(only(item, RUNS[0]), item).rows
    assert (rows[0][1], rows[0][-1], rows[1][1]) == ("demo", "stale", "not in the ledger")


def test_old_records_without_commit_or_date_are_shown_without_them():
    old = replace(RUNS[0], commit="", recorded="", environment={})
    item = at("gain", "full", ClaimVerdict.SUPPORTED, evidence=(old.run,))
    assert set(dict(facts(provenance(only(item, old), item)))) == {"Stale or fresh", "Wall time"}
    assert "n/a" in runs_table(only(item, old), item).rows[0]


def test_the_reproducing_command_names_tier_and_claim_and_no_tier_for_printed_numbers():
    assert reproduce(GAIN) == "hubrouter-audit claims --tier full --only gain"
    assert reproduce(OPEN) == "hubrouter-audit claims --only open"


@pytest.mark.parametrize(("seconds", "text"), [(3.0, "3.0 seconds"), (150.0, "2.5 minutes"), (9000.0, "2.5 hours")])
def test_durations_have_the_unit_a_reader_counts_in(seconds, text):
    assert duration(seconds) == text


def test_limits_follow_tier_verdict_and_staleness():
    assert any("at this scale" in limit for limit in limits_of(GAIN))
    assert any("no run of ours" in limit for limit in limits_of(at("x", PRINTED, ClaimVerdict.NOT_TESTABLE)))
    assert any("earlier code" in limit for limit in limits_of(STALE))
    assert limits_of(UNRUN) == ()


def test_a_filter_that_could_narrow_nothing_is_not_offered():
    assert 'name="stale"' not in claims_table(only(GAIN))
    assert 'name="verdict"' not in claims_table(only(GAIN))
    assert claims_table(every_kind()).count('name="verdict"') == 4


def test_every_row_and_every_card_carries_what_the_filters_read():
    page = html(every_kind())
    for item in every_kind().judged:
        assert page.count(f'data-claim="{item.claim.id}" data-verdict="{item.judgement.verdict}"') == 2


def valid(document):
    Draft202012Validator(claims_schema()).validate(document)


def test_the_schema_is_itself_valid_and_names_its_dialect():
    Draft202012Validator.check_schema(claims_schema())
    assert claims_schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_claims_json_follows_its_schema_with_every_kind_of_claim_and_with_none():
    valid(json.loads(claims_json(every_kind())))
    valid(json.loads(claims_json(Report((), Evidence()))))
    unreviewed = replace(GAIN, expected=None)
    column = DotColumn("x", "other", ((0, float("nan")), (1, float("inf"))), 2)
    unnumbered = msgspec.structs.replace(DOTS, columns=(column,))
    judgement = replace(GAIN.judgement, figures=(unnumbered,))
    valid(json.loads(claims_json(only(replace(unreviewed, judgement=judgement)))))


def test_claims_json_is_read_back_by_the_types_it_is_made_from():
    document = msgspec.json.decode(claims_json(every_kind()), type=Document)
    assert json.loads(json_text(msgspec.to_builtins(document))) == json.loads(claims_json(every_kind()))
    assert [claim.id for claim in document.claims] == [item.claim.id for item in every_kind().judged]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda claim: claim.pop("evidence"),
        lambda claim: claim.update(verdict="MAYBE"),
        lambda claim: claim.update(extra=1),
        lambda claim: claim.update(stale="yes"),
        lambda claim: claim.update(tiers=[]),
        lambda claim: claim["figures"][0].update(kind="pie"),
        lambda claim: claim["figures"][0]["columns"][0]["points"][0].update(seed="one"),
        lambda claim: claim["provenance"].pop("commits"),
    ],
)
def test_the_schema_refuses_what_it_does_not_name(spoil):
    document = json.loads(claims_json(every_kind()))
    spoil(document["claims"][0])
    assert not Draft202012Validator(claims_schema()).is_valid(document)


def test_claims_json_holds_what_the_contract_names_at_its_top():
    document = json.loads(claims_json(every_kind()))
    assert document["schema"] == 1
    first = document["claims"][0]
    assert first["tier"] == "full"
    assert [entry["tier"] for entry in first["tiers"]] == ["full", "quick"]
    assert {key: first[key] for key in first["tiers"][0]} == first["tiers"][0]


def test_markdown_holds_the_numbers_of_every_figure():
    text = markdown(every_kind())
    assert "0: 43.10, 1: 42.80, 2: 43.60" in text
    assert "5/5" in text
    assert "**The claim at every tier**" in text


def test_a_jobs_summary_is_the_whole_report_where_it_fits_and_whole_parts_of_it_where_not():
    report = every_kind()
    whole = step_summary(report)
    assert whole == markdown(report)
    shorter = step_summary(report, len(whole.encode()) - 1)
    assert "claims.md#gain" in shorter
    assert len(shorter) < len(whole)
    shortest = step_summary(report, len(shorter.encode()) - 1)
    assert "| `gain` |" in shortest
    assert "Reason of gain" not in shortest
    assert step_summary(report, 10) == ""
    assert LIMIT == 2**20


def test_no_record_of_another_commit_is_lost():
    runs = (record(0), record(1, commit="abc+"))
    item = at("gain", "full", ClaimVerdict.SUPPORTED, evidence=tuple(run.run for run in runs))
    assert provenance(only(item, *runs), item).commits == ("0123456789ab", "abc+")


def published(identity, p):
    item = at(identity, "full", ClaimVerdict.SUPPORTED, p=p)
    return replace(item, claim=replace(item.claim, source="arXiv:0000.00000"))


def test_p_values_are_corrected_over_the_papers_claims_those_without_one_counting_as_1():
    ours = at("ours", "full", ClaimVerdict.SUPPORTED, p=1e-9)
    ours = replace(ours, claim=replace(ours.claim, kind=Kind.ATTACK))
    report = Report((published("firm", 0.004), published("thin", 0.04), published("bare", None), ours), Evidence())
    assert {name: (round(a.adjusted, 6), a.rejected) for name, a in report.corrected.items()} == {
        "firm": (0.012, True),
        "thin": (0.08, False),
    }
    for text in (markdown(report), html(report)):
        assert "the paper's 3 claims" in text.replace("\\", "").replace("&#x27;", "'").replace("&#39;", "'")
        assert "not significant any more" in text
    assert [claim["corrected"] is None for claim in json.loads(claims_json(report))["claims"]] == [
        False, False, True, True,
    ]  # fmt: skip
