import math
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from audits.statistics.multiplicity import holm, largest_family
from audits.statistics.permutation import sign_flip, two_sample
from audits.statistics.power import (
    margin_with_power,
    minimum_detectable_effect,
    paired_rule,
    power_of,
    seeds_needed,
    smallest_margin,
    welch_rule,
)
from audits.statistics.scaling import scaling_exponent
from audits.statistics.summary import Printed, Reading, Summary, pooled_sd, sd_interval, summarise
from audits.statistics.t_test import paired, welch
from audits.statistics.tipping import best_of_p, best_of_tipping_point, borrowed_p, single_run_p, tipping_point

DRAWS = 20_000  # a binomial rate near .05 then has a standard error of .0016
finite = st.floats(-1e3, 1e3, allow_nan=False).map(lambda x: round(x, 3))
seed_values = st.lists(finite, min_size=2, max_size=8).filter(lambda v: np.std(v) > 1e-2)


def rejects_by_hand(a: np.ndarray, b: np.ndarray, alpha: float = 0.05) -> float:
    """The share of Welch rejections over rows of a [draws, n] against b [draws, n], by scipy alone."""
    return float(np.mean(stats.ttest_ind(a, b, axis=1, equal_var=False).pvalue <= alpha))


def normal(seed: int, shape: tuple[int, int], mean: float = 0.0, sd: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, sd, shape)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(seed_values, seed_values)
def test_welch_agrees_with_scipy_and_its_interval_excludes_zero_exactly_when_p_is_below_alpha(a, b):
    ours, theirs = welch(summarise(a), summarise(b)), stats.ttest_ind(a, b, equal_var=False)
    bounds = theirs.confidence_interval(0.95)
    assert ours.p == pytest.approx(theirs.pvalue, rel=1e-9, abs=1e-12)
    assert (ours.difference / ours.standard_error, ours.df) == pytest.approx(
        (theirs.statistic, theirs.df), rel=1e-9, abs=1e-12
    )
    assert (ours.interval.low, ours.interval.high) == pytest.approx((bounds.low, bounds.high), rel=1e-9, abs=1e-9)
    if abs(ours.p - 0.05) > 1e-6:
        assert (ours.p < 0.05) == (not ours.interval.low <= 0 <= ours.interval.high)


def test_the_printed_comparison_gives_the_known_p_under_both_readings_of_plus_minus():
    hub, jamba = Printed(211.5, 0.4, 3), Printed(208.5, 0.7, 3)
    sd, sem = (welch(hub.read_as(reading), jamba.read_as(reading)) for reading in (Reading.SD, Reading.SEM))
    assert sd.p == pytest.approx(0.0063, abs=1e-4)
    assert sem.p == pytest.approx(0.031, abs=1e-3)
    assert str(hub) == "211.5 ± 0.4 (3 seeds)"


def test_reading_a_spread_as_standard_error_multiplies_it_by_the_root_of_the_runs():
    assert Printed(1.0, 0.5, 4).read_as(Reading.SEM) == Summary(1.0, 1.0, 4)
    assert Printed(1.0, 0.5, 4).read_as(Reading.SD) == Summary(1.0, 0.5, 4)


def test_welch_is_conservative_at_three_runs_and_its_false_positive_rate_is_the_size_we_compute():
    measured = rejects_by_hand(normal(1, (DRAWS, 3)), normal(2, (DRAWS, 3)))
    computed = power_of(welch_rule(1.0, 1.0, 3), 0.0)
    assert measured < 0.05
    assert computed == pytest.approx(measured, abs=0.006)


@pytest.mark.parametrize(("sd_a", "sd_b", "n", "effect"), [(1, 1, 3, 3.0), (0.4, 0.7, 3, 1.5), (1, 2, 5, 2.5)])
def test_welch_power_agrees_with_a_direct_simulation_at_tiny_n(sd_a, sd_b, n, effect):
    measured = rejects_by_hand(normal(3, (DRAWS, n), effect, sd_a), normal(4, (DRAWS, n), 0.0, sd_b))
    assert power_of(welch_rule(sd_a, sd_b, n), effect) == pytest.approx(measured, abs=0.015)


@pytest.mark.parametrize(("n", "effect"), [(2, 5.0), (3, 2.0), (5, 1.5), (10, 1.0)])
def test_paired_power_agrees_with_the_noncentral_t(n, effect):
    critical, shift = stats.t.isf(0.025, n - 1), effect * math.sqrt(n)
    exact = stats.nct.sf(critical, n - 1, shift) + stats.nct.cdf(-critical, n - 1, shift)
    assert power_of(paired_rule(1.0, n), effect) == pytest.approx(exact, abs=2e-3)


def test_against_an_arm_without_spread_the_power_is_that_of_the_one_sample_test():
    one_sided = power_of(welch_rule(0.0, 1.0, 5), 1.5)
    assert one_sided == pytest.approx(power_of(paired_rule(1.0, 5), 1.5), abs=5e-3)


def test_the_size_of_the_paired_test_is_alpha():
    for n, alpha in product((2, 3, 10), (0.05, 0.0025)):
        assert power_of(paired_rule(0.3, n, alpha), 0.0) == pytest.approx(alpha, rel=0.03)


def test_the_pilot_study_s_detectable_effects_are_reproduced():
    pairs = [minimum_detectable_effect(paired_rule(0.008, n)) for n in (3, 5, 10)]
    assert pairs == pytest.approx([0.026, 0.0135, 0.008], rel=0.02)


@settings(derandomize=True, deadline=None, max_examples=15)
@given(st.floats(0.1, 10), st.floats(0.1, 10), st.integers(2, 12), st.floats(0.3, 0.95))
def test_the_minimum_detectable_effect_is_found_with_exactly_the_wanted_power(sd_a, sd_b, n, power):
    rule = welch_rule(sd_a, sd_b, n)
    assert power_of(rule, minimum_detectable_effect(rule, power)) == pytest.approx(power, abs=1e-6)


@pytest.mark.parametrize("effect", [0.2, 1.0, 3.0, 30.0])
def test_seeds_needed_is_the_first_number_that_suffices(effect):
    def rule_at(n):
        return paired_rule(1.0, n)

    found = seeds_needed(rule_at, effect)
    assert power_of(rule_at(found), effect) >= 0.8
    assert found == 2 or power_of(rule_at(found - 1), effect) < 0.8


def test_seeds_needed_says_none_beyond_its_limit_and_refuses_a_zero_effect():
    assert seeds_needed(lambda n: paired_rule(1.0, n), 0.01, limit=50) is None
    with pytest.raises(ValueError, match="smallest effect that matters"):
        seeds_needed(lambda n: paired_rule(1.0, n), 0.0)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.lists(st.tuples(finite, finite), min_size=3, max_size=8))
def test_the_paired_interval_agrees_with_scipy_and_states_its_degrees_of_freedom(pairs):
    a, b = [x for x, _ in pairs], [y for _, y in pairs]
    if np.std(np.subtract(a, b)) < 1e-2:
        return
    ours, theirs = paired(a, b), stats.ttest_rel(a, b)
    bounds = theirs.confidence_interval(0.95)
    assert ours.df == len(pairs) - 1
    assert ours.p == pytest.approx(theirs.pvalue, rel=1e-9, abs=1e-12)
    assert (ours.interval.low, ours.interval.high) == pytest.approx((bounds.low, bounds.high), rel=1e-9, abs=1e-9)


def test_the_paired_interval_at_three_seeds_covers_the_truth_as_often_as_it_says():
    gaps = normal(5, (2000, 3), mean=1.0)
    covered = [paired(row, [0.0] * 3).interval for row in gaps.tolist()]
    rate = np.mean([interval.low <= 1.0 <= interval.high for interval in covered])
    assert stats.binomtest(int(rate * 2000), 2000, 0.95).pvalue > 1e-4


@pytest.mark.parametrize("n", [2, 3, 5, 8])
def test_the_sign_flip_test_reaches_its_smallest_p_when_all_differences_agree(n):
    result = sign_flip([1.0 + 0.1 * i for i in range(n)])
    assert result.p == result.smallest_p == 2 / 2**n
    assert result.rearrangements == 2**n


def test_the_two_sample_permutation_at_three_runs_an_arm_cannot_go_below_one_tenth():
    result = two_sample([10.0, 11.0, 12.5], [1.0, 2.0, 3.5])
    assert result.p == pytest.approx(0.1)
    assert result.smallest_p == pytest.approx(0.1)


def test_the_sign_flip_test_matches_a_count_by_hand():
    gaps = [3.0, -1.0, 2.0, 4.0]
    sums = [sum(s * g for s, g in zip(signs, gaps, strict=True)) for signs in product((1, -1), repeat=4)]
    by_hand = 2 * np.mean([total >= sum(gaps) for total in sums])
    assert sign_flip(gaps).p == pytest.approx(by_hand)


def test_more_seeds_than_can_be_listed_are_drawn_repeatably_and_close_to_the_t_test():
    rng = np.random.default_rng(22)
    a, b = rng.normal(0.45, 1, 40), rng.normal(0, 1, 40)
    paired_, unpaired = sign_flip(a - b), two_sample(a, b)
    assert (paired_.sampled, unpaired.sampled) == (True, True)
    assert sign_flip(a - b) == paired_
    assert paired_.p == pytest.approx(stats.ttest_rel(a, b).pvalue, abs=0.01)
    assert unpaired.p == pytest.approx(stats.ttest_ind(a, b).pvalue, abs=0.02)
    assert sign_flip(a + 9).p == sign_flip(a + 9).smallest_p > 0


def test_permutation_tests_keep_their_false_positive_rate():
    alarms = [sign_flip(row).p <= 0.0625 for row in normal(6, (400, 5)).tolist()]
    assert stats.binomtest(sum(alarms), 400, 0.0625).pvalue > 1e-4


@settings(derandomize=True, deadline=None, max_examples=50)
@given(st.floats(0.01, 1e3), st.floats(0.001, 0.5))
def test_at_the_tipping_point_the_gap_is_exactly_at_alpha(gap, alpha):
    tip = tipping_point(-gap, alpha)
    assert single_run_p(gap, tip.sigma) == pytest.approx(alpha, rel=1e-9)
    assert single_run_p(gap, 1.01 * tip.sigma) > alpha > single_run_p(gap, 0.99 * tip.sigma)


def test_the_tipping_point_of_the_printed_gap_is_known():
    assert tipping_point(8.8).sigma == pytest.approx(8.8 / (1.959964 * math.sqrt(2)), rel=1e-6)


def test_gaps_of_single_runs_at_the_tipping_point_exceed_it_in_alpha_of_simulated_pairs():
    runs = normal(8, (DRAWS, 2), sd=tipping_point(3.0).sigma)
    alarms = int(np.sum(np.abs(runs[:, 0] - runs[:, 1]) >= 3.0))
    assert stats.binomtest(alarms, DRAWS, 0.05).pvalue > 1e-4


@pytest.mark.parametrize("arms", [1, 4])
def test_the_best_of_several_arms_beats_the_control_as_often_as_in_a_simulation(arms):
    runs = normal(9, (DRAWS, arms + 1))
    wins = int(np.sum(runs[:, 0] - runs[:, 1:].min(axis=1) >= 1.5))
    assert stats.binomtest(wins, DRAWS, best_of_p(1.5, 1.0, arms)).pvalue > 1e-4


def test_the_best_of_one_arm_is_the_one_sided_test_and_more_arms_lower_the_tipping_point():
    assert best_of_p(2.0, 1.0, 1) == pytest.approx(single_run_p(2.0, 1.0) / 2, rel=1e-6)
    sigmas = [best_of_tipping_point(14.4, arms).sigma for arms in (1, 2, 4, 8)]
    assert sigmas == sorted(sigmas, reverse=True)
    assert best_of_p(14.4, sigmas[2], 4) == pytest.approx(0.05, rel=1e-6)


def test_a_borrowed_sd_of_few_runs_convinces_less_than_a_known_one():
    assert borrowed_p(8.8, Summary(0.0, 0.7, 3)) > 100 * single_run_p(8.8, 0.7)
    assert borrowed_p(8.8, Summary(0.0, 4.0, 100_000)) == pytest.approx(single_run_p(8.8, 4.0), rel=1e-3)


def test_the_interval_of_an_sd_covers_the_truth_as_often_as_it_says():
    sds = normal(10, (4000, 3)).std(axis=1, ddof=1)
    bounds = sd_interval(1.0, 2)
    covered = int(np.sum((sds * bounds.low <= 1.0) & (sds * bounds.high >= 1.0)))
    assert stats.binomtest(covered, 4000, 0.95).pvalue > 1e-4


def test_the_smallest_equivalence_margins_are_the_known_ones():
    sd = pooled_sd(Summary(0.0, 0.4, 3), Summary(0.0, 0.7, 3))
    assert sd == pytest.approx(0.57, abs=1e-3)
    assert [round(smallest_margin(sd, n), 2) for n in (3, 5, 10)] == [0.99, 0.67, 0.44]


@pytest.mark.parametrize("n", [3, 10])
def test_the_margin_with_power_is_proved_that_often_in_a_simulation(n):
    margin = margin_with_power(1.0, n)
    a, b = normal(11, (DRAWS, n)), normal(12, (DRAWS, n))
    error = np.sqrt((a.var(axis=1, ddof=1) + b.var(axis=1, ddof=1)) / n)
    proved = np.abs(a.mean(axis=1) - b.mean(axis=1)) + stats.t.isf(0.05, 2 * n - 2) * error < margin
    assert stats.binomtest(int(proved.sum()), DRAWS, 0.8).pvalue > 1e-4


@settings(derandomize=True, deadline=None, max_examples=15)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_rejects_what_bonferroni_rejects_in_every_subset_of_the_family(p_values):
    members = range(len(p_values))
    subsets = [set(chosen) for size in members for chosen in combinations(members, size + 1)]
    bonferroni = [(chosen, min(1.0, len(chosen) * min(p_values[i] for i in chosen))) for chosen in subsets]
    adjusted = [max(p for chosen, p in bonferroni if i in chosen) for i in members]
    found = holm(p_values)
    assert [test.p for test in found] == p_values
    assert [test.adjusted for test in found] == pytest.approx(adjusted)
    assert [test.rejected for test in found] == [p <= 0.05 for p in adjusted]


def test_holm_steps_down_and_keeps_the_order_given():
    found = holm([0.01, 0.04, 0.03])
    assert [test.adjusted for test in found] == pytest.approx([0.03, 0.06, 0.06])
    assert [test.rejected for test in found] == [True, False, False]


def test_holm_keeps_the_family_wise_false_positive_rate():
    draws = np.random.default_rng(15).uniform(size=(1000, 5))
    alarms = sum(any(test.rejected for test in holm(row)) for row in draws.tolist())
    assert stats.binomtest(alarms, 1000, 1 - 0.99**5, alternative="greater").pvalue > 1e-4


@settings(derandomize=True, deadline=None, max_examples=50)
@given(st.floats(1e-4, 1.0))
def test_a_p_value_survives_up_to_its_largest_family_and_no_further(p):
    size = largest_family(p)
    assert size == 0 or holm([p], size)[0].adjusted <= 0.05 + 1e-12
    assert holm([p], size + 1)[0].adjusted > 0.05 - 1e-12


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.floats(0.0, 3.0), st.floats(1e-3, 1e3))
def test_the_exponent_of_a_pure_power_law_is_found_whatever_the_unit(slope, unit):
    lengths = (256, 512, 1024, 4096)
    found = scaling_exponent(lengths, [unit * n**slope for n in lengths])
    assert (found.slope, found.low, found.high) == pytest.approx((slope,) * 3, abs=1e-6)


def test_the_exponent_and_its_interval_agree_with_scipy_on_noisy_costs():
    lengths, cost = np.array([128, 256, 512, 1024]), np.array([1.1, 2.3, 3.9, 8.4])
    known = stats.linregress(np.log(lengths), np.log(cost))
    found = scaling_exponent(lengths, cost)
    assert found.slope == pytest.approx(known.slope)
    assert found.high - found.slope == pytest.approx(stats.t.isf(0.025, 2) * known.stderr)


def test_the_interval_of_the_exponent_covers_the_truth_as_often_as_it_says():
    lengths = np.array([256.0, 512.0, 1024.0, 2048.0])
    noise = np.exp(normal(16, (1000, 4), sd=0.1))
    fits = [scaling_exponent(lengths, row) for row in (lengths**1.5 * noise).tolist()]
    covered = sum(fit.low <= 1.5 <= fit.high for fit in fits)
    assert stats.binomtest(covered, 1000, 0.95).pvalue > 1e-4


BAD = [
    (lambda: welch(Summary(1.0, 0.0, 1), Summary(2.0, 0.1, 3)), "tipping_point"),
    (lambda: welch(Summary(1.0, 0.0, 3), Summary(2.0, 0.0, 3)), "seeds did not take effect"),
    (lambda: summarise([1.0]), "add seeds"),
    (lambda: summarise([1.0, math.nan]), "not finite"),
    (lambda: Summary(1.0, -0.1, 3), "SD >= 0"),
    (lambda: pooled_sd(Summary(1.0, 0.0, 1), Summary(1.0, 0.0, 1)), "at least 2 seeds"),
    (lambda: sd_interval(1.0, 0), "df >= 1"),
    (lambda: paired([1.0, 2.0], [1.0]), "equally many"),
    (lambda: paired([1.0, 2.0], [0.0, 1.0]), "seeds did not take effect"),
    (lambda: sign_flip([1.0, math.inf]), "finite"),
    (lambda: two_sample([], [1.0]), "non-empty"),
    (lambda: tipping_point(0.0), "not zero"),
    (lambda: single_run_p(1.0, 0.0), "positive"),
    (lambda: borrowed_p(1.0, Summary(0.0, 1.0, 1)), "borrowed only"),
    (lambda: paired_rule(1.0, 1), "n >= 2"),
    (lambda: smallest_margin(0.0, 3), "positive SD"),
    (lambda: smallest_margin(1.0, 1), "n >= 2"),
    (lambda: holm([]), "at least one"),
    (lambda: largest_family(0.0), "0 < p"),
    (lambda: scaling_exponent([1, 2], [1, 2]), "at least 3 points"),
    (lambda: scaling_exponent([1, 2, 3], [1, 0, 2]), "positive and finite"),
]


@pytest.mark.parametrize(("call", "words"), BAD, ids=[words for _, words in BAD])
def test_bad_input_gets_one_clear_line(call, words):
    with pytest.raises(ValueError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)
