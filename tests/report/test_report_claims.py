"""A claim in the report: its page, its tiers, where it comes from, what is stale, and the published schemas."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import replace

import msgspec
import pytest
from jsonschema import Draft202012Validator
from report_samples import ADDRESSES, DOTS, RUNS, at, every_kind, record

from audits.claims.claim import PRINTED, ClaimVerdict, Kind
from audits.claims.figures import DotColumn, DotPoint
from audits.claims.judged import Report
from audits.claims.provenance import duration, facts, provenance, reproduce, runs_table
from audits.evidence.ledger import Evidence
from audits.jsonable import json_text
from audits.report.claims.index import SUMMARY_LIMIT, index_html, readme, step_summary
from audits.report.claims.json import claims_json, page_json
from audits.report.claims.junit import junit, outcome
from audits.report.claims.page import claim_document
from audits.report.claims.prose import expectation_sentence, limits_of
from audits.report.claims.schema import Index, Page, schema_files
from audits.report.render.junit import Outcome

GAIN, OLD, OPEN, UNTESTABLE, UNRUN = every_kind().judged
STALE = at("old", "quick", ClaimVerdict.SUPPORTED, ClaimVerdict.REFUTED, evidence=ADDRESSES, stale=ADDRESSES[:1])


def only(item, *records):
    return Report((item,), Evidence(records or RUNS))


def page(item, end, report=None):
    """One page of a claim."""
    return claim_document(report or only(item), item).files[f"claims/{item.claim.id}.{end}"]


@pytest.mark.parametrize("end", ["md", "html"])
def test_a_page_shows_everything_that_is_known_of_its_claim(end):
    text = page(GAIN, end)
    for words in (
        "Statement of gain", "200.2", "tier full", "Reason of gain at full", "more seeds", "Test of gain",
        "Refutation of gain", "a paper", "hubrouter-audit claims --tier full --only gain", "0123456789ab",
        "A processor", "torch 2", "4.5", "0: 43.10, 1: 42.80, 2: 43.60", "1 diverged", "Reason of gain at quick",
        "Hours on two cores", "SUPPORTED", "reproduced", "5/5", "The claim at every tier", *ADDRESSES,
    ):  # fmt: skip
        assert words in text, words
    assert [name for name in ("gain-1.svg", "gain-2.svg", "gain-quick-1.svg") if name in text] != []
    assert text.count(".svg") == 3


def test_a_page_says_what_could_have_been_detected():
    assert "minimum detectable effect: 2.1 PPL; seeds needed: 9" in page(OPEN, "md")


def test_a_stale_claim_is_marked_in_every_format_and_fails_in_none():
    report = only(STALE)
    for text in (index_html(report), readme(report), page(STALE, "md"), page(STALE, "html")):
        assert "! stale: code has changed since its runs" in text
        assert "not as expected" not in text
    assert json.loads(claims_json(report))["claims"][0]["stale"] == [ADDRESSES[0]]
    assert json.loads(claims_json(report))["claims"][0]["as_expected"] is True
    assert report.unexpected == ()


def test_a_fresh_claim_is_marked_stale_nowhere():
    report = only(GAIN)
    assert not any("! stale" in text for text in (index_html(report), readme(report), page(GAIN, "md")))


def test_the_index_names_the_papers_number_and_ours_and_links_to_the_page():
    known = replace(GAIN, judgement=replace(GAIN.judgement, ours="1.02 (0.99 to 1.05), 3 seeds"))
    text = readme(only(known))
    assert "[`gain`](claims/gain.md) Statement of gain | 200.2 | 1.02 (0.99 to 1.05), 3 seeds | our scale |" in text
    assert 'href="claims/gain.html"' in index_html(only(known))


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
    assert "tier quick: not as expected" in index_html(only(item))
    assert "tier quick: not as expected" in readme(only(item))


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
    assert '<input type="checkbox"' not in index_html(only(GAIN))
    assert index_html(every_kind()).count('name="outcome"') == 4
    assert index_html(every_kind()).count('name="scope"') == 3


def test_every_row_carries_what_the_filters_read():
    text = index_html(every_kind())
    for item in every_kind().judged:
        assert text.count(f'<tr id="{item.claim.id}" data-paper="HubRouter" data-kind="published"') == 1


def schema_of(kind):
    return json.loads(schema_files()[{Index: "claims.schema.json", Page: "claim.schema.json"}[kind]])


def valid(kind, text):
    Draft202012Validator(schema_of(kind)).validate(json.loads(text))


@pytest.mark.parametrize("kind", [Index, Page])
def test_a_schema_is_itself_valid_and_names_its_dialect(kind):
    Draft202012Validator.check_schema(schema_of(kind))
    assert schema_of(kind)["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_the_files_follow_their_schemas_with_every_kind_of_claim_and_with_none():
    valid(Index, claims_json(every_kind()))
    valid(Index, claims_json(Report((), Evidence())))
    for item in every_kind().judged:
        valid(Page, page_json(every_kind(), item))
    column = DotColumn("x", "other", (DotPoint(0, float("nan")), DotPoint(1, float("inf"))), 2)
    unnumbered = msgspec.structs.replace(DOTS, columns=(column,))
    item = replace(GAIN, expected=None, judgement=replace(GAIN.judgement, figures=(unnumbered,)))
    valid(Page, page_json(only(item), item))


def test_the_files_are_read_back_by_the_types_they_are_made_from():
    for kind, text in ((Index, claims_json(every_kind())), (Page, page_json(every_kind(), GAIN))):
        document = msgspec.json.decode(text, type=kind)
        assert json.loads(json_text(msgspec.to_builtins(document))) == json.loads(text)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda claim: claim.pop("evidence"),
        lambda claim: claim.update(verdict="MAYBE"),
        lambda claim: claim.update(extra=1),
        lambda claim: claim.update(stale="yes"),
        lambda claim: claim["figures"][0].update(kind="pie"),
        lambda claim: claim["figures"][0]["columns"][0]["points"][0].update(seed="one"),
        lambda claim: claim["provenance"].pop("commits"),
    ],
)
def test_the_schema_refuses_what_it_does_not_name(spoil):
    document = json.loads(page_json(every_kind(), GAIN))
    spoil(document["tiers"][0])
    assert not Draft202012Validator(schema_of(Page)).is_valid(document)


def test_the_files_hold_what_the_contract_names():
    document = json.loads(claims_json(every_kind()))
    assert document["schema"] == 1
    keys = {"id", "statement", "source", "verdict", "expected", "tier", "reason", "kind", "scope", "evidence"}
    assert all(keys <= claim.keys() for claim in document["claims"])
    first = document["claims"][0]
    assert (first["tier"], first["verdict"], first["evidence"]) == ("full", "SUPPORTED", list(ADDRESSES))
    assert [entry["tier"] for entry in first["lower_tiers"]] == ["quick"]
    page = json.loads(page_json(every_kind(), GAIN))
    assert [entry["tier"] for entry in page["tiers"]] == ["full", "quick"]
    assert page["tiers"][0]["figures"][0]["columns"][0]["points"][0] == {"seed": 0, "value": 43.1}


def test_a_jobs_summary_is_the_index_without_links_where_it_fits_and_the_tally_where_not():
    report = every_kind()
    whole = step_summary(report)
    assert "Reason of gain at full" in whole
    assert "](" not in whole
    shorter = step_summary(report, len(whole.encode()) - 1)
    assert "5 published claims: 1 not reproduced, 1 reproduced, 2 open, 1 not testable" in shorter
    assert "Reason of gain" not in shorter
    assert step_summary(report, 10) == ""
    assert len(step_summary(report, 2**30).encode()) <= SUMMARY_LIMIT


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
    thin = page(report.judged[1], "md", report)
    assert "the paper's 3 claims" in thin
    assert "not significant any more" in thin
    corrected = [json.loads(page_json(report, item))["corrected"] is None for item in report.judged]
    assert corrected == [False, False, True, True]
