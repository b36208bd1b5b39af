import importlib
import tomllib
from pathlib import Path

import pytest

import audits.claims
from audits.claims.claim import ClaimVerdict
from audits.claims.hubrouter import (
    chunk_size,
    graduated_25,
    hub_count,
    hub_gpt_ppl,
    hub_jamba_ppl,
    orthogonal_m6,
    retrofit,
)
from audits.claims.hubrouter._paper import HUB_GPT, JAMBA, PRINTED_ALONE
from audits.claims.hubrouter.throughput_90x import share_removed
from audits.evidence.ledger import Evidence, Record
from audits.formatting import p_text
from audits.statistics.counts import Counts
from audits.statistics.summary import Printed, Reading

IDS = (
    "chunk-size",
    "graduated-25",
    "hub-count",
    "hub-gpt-ppl",
    "hub-jamba-ppl",
    "orthogonal-m6",
    "retrofit",
)
EXPECTED = tomllib.loads(Path(audits.claims.__path__[0], "expected.toml").read_text(encoding="utf-8"))


def claim_of(claim_id):
    return importlib.import_module(f"audits.claims.hubrouter.{claim_id.replace('-', '_')}").CLAIM


@pytest.fixture(scope="module")
def judged():
    return {claim_id: claim_of(claim_id).judge(Evidence()) for claim_id in IDS}


@pytest.mark.parametrize("claim_id", IDS)
def test_every_verdict_is_the_reviewed_one(claim_id, judged):
    assert claim_of(claim_id).id == claim_id
    assert judged[claim_id].verdict == EXPECTED[claim_id].get("printed", EXPECTED[claim_id].get("verdict"))
    assert "\n" not in EXPECTED[claim_id]["why"]


@pytest.mark.parametrize("claim_id", IDS)
def test_every_reason_says_that_no_run_of_ours_stands_behind_it(claim_id, judged):
    assert PRINTED_ALONE in f"{judged[claim_id].reason} {judged[claim_id].details}"
    assert judged[claim_id].evidence == ()
    assert claim_of(claim_id).source.startswith("arXiv:2604.22442")
    assert "abstract only" in claim_of(claim_id).source


@pytest.mark.parametrize("claim_id", IDS)
def test_an_inconclusive_verdict_carries_its_detectable_effect_and_the_seeds_needed(claim_id, judged):
    judgement = judged[claim_id]
    if judgement.verdict is ClaimVerdict.INCONCLUSIVE:
        assert judgement.minimum_detectable_effect
        assert judgement.seeds_needed is not None
        assert judgement.seeds_needed > 3
    else:
        assert judgement.verdict is ClaimVerdict.NOT_TESTABLE
        assert judgement.would_change


@pytest.mark.parametrize("claim_id", IDS)
def test_tables_are_rectangular_and_show_no_undefined_number(claim_id, judged):
    assert judged[claim_id].tables
    for table in judged[claim_id].tables:
        assert table.rows
        for row in table.rows:
            assert len(row) == len(table.header)
            assert not {"nan", "inf", "None", ""} & set(row)


@pytest.mark.parametrize("claim_id", ["hub-count", "hub-gpt-ppl"])
def test_a_judgement_repeats_itself_exactly_and_does_not_read_unrelated_runs(claim_id, judged):
    unrelated = Evidence((Record("leak-worth", {"arm": "clean"}, 0, {"valid_nats": 4.0}, {}, 1.0),))
    assert claim_of(claim_id).judge(unrelated) == judged[claim_id]


@pytest.mark.parametrize(("claim_id", "figure"), [("hub-jamba-ppl", "200.2"), ("graduated-25", "282.4")])
def test_published_numbers_are_shown_as_printed(claim_id, figure):
    assert figure in claim_of(claim_id).published.values()


def test_hub_gpt_is_inconclusive_with_the_figures_of_both_readings(judged):
    reason = judged["hub-gpt-ppl"].details
    assert "p = 0.0063 if ± is the SD" in reason
    assert "p = 0.031 if ± is the SEM" in reason


def test_hub_gpt_would_be_supported_by_more_seeds_and_refuted_by_the_opposite_sign():
    hub, jamba = Printed(211.5, 0.4, 10), Printed(208.5, 0.7, 10)
    assert hub_gpt_ppl.judge_printed(hub, jamba, 20).verdict is ClaimVerdict.SUPPORTED
    assert hub_gpt_ppl.judge_printed(jamba, hub, 20).verdict is ClaimVerdict.REFUTED


def test_hub_gpt_would_be_supported_only_if_it_were_the_one_comparison_in_the_paper():
    verdicts = [hub_gpt_ppl.judge_printed(HUB_GPT, JAMBA, family).verdict for family in (1, 2, 20)]
    assert verdicts == [ClaimVerdict.SUPPORTED, ClaimVerdict.INCONCLUSIVE, ClaimVerdict.INCONCLUSIVE]


def test_significance_under_one_reading_alone_does_not_decide():
    views = tuple(hub_gpt_ppl.under(reading, HUB_GPT, JAMBA, 5) for reading in Reading)
    assert [view.adjusted <= 0.05 for view in views] == [True, False]
    assert hub_gpt_ppl.decide(views) is ClaimVerdict.INCONCLUSIVE


def test_the_seeds_hub_gpt_needs_would_settle_it_if_the_means_and_sds_stayed(judged):
    seeds = judged["hub-gpt-ppl"].seeds_needed
    view = hub_gpt_ppl.under(Reading.SD, Printed(211.5, 0.4, seeds), Printed(208.5, 0.7, seeds), 20)
    assert view.power > 0.8


@pytest.mark.parametrize(("baseline", "tipping"), [(209.0, "3.17"), (204.0, "1.37")])
def test_the_tipping_point_of_hub_jamba_follows_the_printed_gap(baseline, tipping):
    assert f"seed SD exceeds {tipping} PPL" in hub_jamba_ppl.judge_printed(200.2, baseline).reason


def test_borrowed_sds_are_labelled_as_borrowed_and_shown_under_both_readings(judged):
    (table,) = judged["hub-jamba-ppl"].tables
    assert "BORROWED" in table.title
    assert [row[2] for row in table.rows] == ["0.40", "0.69", "0.70", "1.21"]
    assert "other models" in judged["hub-jamba-ppl"].details


def test_picking_the_best_of_more_arms_lowers_the_tipping_point_of_the_graduated_sweep():
    one, four = (graduated_25.judge_printed(268.0, 282.4, arms) for arms in (1, 4))
    assert "exceeds 6.19 PPL" in one.reason
    assert "exceeds 4.71 PPL" in four.reason
    assert all("the limit is 5.20 PPL" in judgement.details for judgement in (one, four))


def test_the_margins_that_could_be_proved_for_the_chunk_size_are_the_known_ones(judged):
    assert "±0.99 at 3, ±0.67 at 5, ±0.44 at 10" in judged["chunk-size"].details
    assert chunk_size.borrowed_sd(Reading.SEM) == pytest.approx(3**0.5 * chunk_size.borrowed_sd(Reading.SD))


def test_hub_counts_of_five_seeds_cannot_be_distinguished_but_larger_cells_could(judged):
    assert "Fisher p = 0.44" in judged["hub-count"].details
    assert "9 % power" in judged["hub-count"].details
    assert hub_count.judge_counts((5,), 0, 5).verdict is ClaimVerdict.SUPPORTED
    assert hub_count.judge_counts((20,), 10, 20).verdict is ClaimVerdict.SUPPORTED


def test_hub_counts_are_distinguished_only_if_every_reliable_cell_and_both_tests_agree():
    assert hub_count.judge_counts((2, 5), 0, 5).verdict is ClaimVerdict.INCONCLUSIVE
    assert hub_count.judge_counts((10,), 6, 10).verdict is ClaimVerdict.INCONCLUSIVE  # Boschloo below, Fisher above .05


def test_the_assumed_fall_starts_after_the_reliable_band_and_ends_where_it_says():
    rates = hub_count.falling_rates(0.3)
    assert rates[:4] == (0.9,) * 4
    assert rates[-1] == pytest.approx(0.3)
    assert list(rates) == sorted(rates, reverse=True)


def test_the_rescue_of_six_hubs_hangs_on_the_count_the_abstract_leaves_out():
    assert orthogonal_m6.largest_significant(Counts(5, 5)) == 1
    assert orthogonal_m6.largest_significant(Counts(3, 3)) is None
    assert [row[0] for row in orthogonal_m6.by_baseline(Counts(5, 5)).rows] == [f"{k}/5" for k in range(6)]


def test_failed_attempts_bound_the_success_rate_as_the_binomial_says():
    for failures in (1, 5, 29):
        assert (1 - retrofit.success_bound(failures)) ** failures == pytest.approx(0.05)


def test_amdahl_s_share_gives_back_its_multiplier_and_a_slowdown_is_refused():
    assert 1 / (1 - share_removed(90.0)) == pytest.approx(90.0)
    with pytest.raises(ValueError, match="at least 1"):
        share_removed(0.5)


def test_p_values_are_not_printed_beyond_what_the_tails_can_bear():
    assert p_text(1e-30) == "< 1e-6"
    assert p_text(0.00633) == "0.0063"
