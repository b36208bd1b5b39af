import math

import numpy as np
import pytest
from scipy import stats

from audits.statistics.comparison import compare_paired, compare_unpaired
from audits.statistics.permutation import sign_flip, two_sample
from audits.statistics.power import minimum_detectable_effect, paired_rule, power_of, welch_rule

TREATED, CONTROL = [5.1, 5.4, 5.2, 5.6, 5.3], [5.0, 5.1, 5.15, 5.2, 5.1]


def test_a_paired_comparison_bundles_t_test_sign_flips_and_what_the_seeds_can_detect():
    found, known = compare_paired(TREATED, CONTROL), stats.ttest_rel(TREATED, CONTROL)
    bounds = known.confidence_interval(0.95)
    assert found.p == pytest.approx(known.pvalue)
    assert (found.interval.low, found.interval.high) == pytest.approx((bounds.low, bounds.high))
    assert found.difference == pytest.approx(0.21)
    assert found.permutation_p == found.smallest_permutation_p == 2 / 2**5
    assert (found.n, found.alpha, found.significant) == (5, 0.05, True)
    assert found.sd == pytest.approx(np.std(np.subtract(TREATED, CONTROL), ddof=1))


def test_the_detectable_effect_and_the_seeds_needed_match_the_noncentral_t():
    found = compare_paired(TREATED, CONTROL, alpha=0.01)

    def exact(n, effect):
        critical, shift = stats.t.isf(0.005, n - 1), effect * math.sqrt(n) / found.sd
        return stats.nct.sf(critical, n - 1, shift) + stats.nct.cdf(-critical, n - 1, shift)

    assert exact(5, found.mde) == pytest.approx(0.8, abs=3e-3)
    assert exact(found.seeds_needed, found.difference) >= 0.797
    assert exact(found.seeds_needed - 1, found.difference) < 0.803


def test_swapping_the_arms_changes_the_sign_and_nothing_else():
    for compare in (compare_paired, compare_unpaired):
        there, back = compare(TREATED, CONTROL), compare(CONTROL, TREATED)
        assert back.difference == pytest.approx(-there.difference)
        assert (back.p, back.permutation_p, back.seeds_needed) == pytest.approx(
            (there.p, there.permutation_p, there.seeds_needed)
        )
        assert back.mde == pytest.approx(there.mde)


def test_two_seeds_are_compared_and_no_permutation_can_decide():
    found = compare_paired([1.0, 1.2], [0.5, 0.9])
    assert found.smallest_permutation_p == 0.5
    assert found.p == pytest.approx(stats.ttest_rel([1.0, 1.2], [0.5, 0.9]).pvalue)


def test_no_observed_difference_needs_no_number_of_seeds():
    for compare in (compare_paired, compare_unpaired):
        found = compare([1.0, 3.0, 2.0], [3.0, 1.0, 2.0])
        assert (found.difference, found.seeds_needed, found.p) == (0.0, None, 1.0)
        assert found.permutation_p == 1.0


def test_an_unpaired_comparison_of_unequal_arms_agrees_with_scipy_and_names_both_sizes():
    a, b = [3.1, 2.9, 3.4], [2.0, 2.2, 1.9, 2.4, 2.1]
    found, known = compare_unpaired(a, b, 0.1), stats.ttest_ind(a, b, equal_var=False)
    bounds = known.confidence_interval(0.9)
    assert found.p == pytest.approx(known.pvalue)
    assert (found.interval.low, found.interval.high) == pytest.approx((bounds.low, bounds.high))
    assert found.permutation_p == pytest.approx(2 / math.comb(8, 3))
    assert (found.n, found.n_treated, found.n_control) == (3, 3, 5)


@pytest.mark.parametrize(("n_a", "n_b", "sd_a", "sd_b"), [(3, 8, 1.0, 2.0), (10, 4, 2.0, 0.5)])
def test_welch_power_of_unequal_arms_agrees_with_a_simulation(n_a, n_b, sd_a, sd_b):
    rng = np.random.default_rng(21)
    rule = welch_rule(sd_a, sd_b, n_a, 0.05, n_b)
    effect = minimum_detectable_effect(rule)
    a, b = rng.normal(effect, sd_a, (20_000, n_a)), rng.normal(0, sd_b, (20_000, n_b))
    measured = np.mean(stats.ttest_ind(a, b, axis=1, equal_var=False).pvalue <= 0.05)
    assert measured == pytest.approx(0.8, abs=0.015)


def test_an_arm_without_spread_still_has_a_detectable_effect_that_of_the_one_sample_test():
    assert compare_unpaired([1.0, 1.0, 1.0], [2.0, 2.5, 3.0]).mde > 0
    one_sided = power_of(welch_rule(0.0, 1.0, 5), 1.5)
    assert one_sided == pytest.approx(power_of(paired_rule(1.0, 5), 1.5), abs=5e-3)


def test_more_seeds_than_can_be_listed_are_drawn_repeatably_and_close_to_the_t_test():
    rng = np.random.default_rng(22)
    a, b = rng.normal(0.45, 1, 40), rng.normal(0, 1, 40)
    paired_, unpaired = sign_flip(a - b), two_sample(a, b)
    assert (paired_.sampled, unpaired.sampled) == (True, True)
    assert sign_flip(a - b) == paired_
    assert paired_.p == pytest.approx(stats.ttest_rel(a, b).pvalue, abs=0.01)
    assert unpaired.p == pytest.approx(stats.ttest_ind(a, b).pvalue, abs=0.02)
    assert sign_flip(a + 9).p == sign_flip(a + 9).smallest_p > 0


BAD = [
    ("paired", [1.0], [2.0], 0.05, "add seeds"),
    ("paired", [1.0, 2.0], [1.0, 2.0, 3.0], 0.05, "equally many"),
    ("paired", [1.0, 2.0, 3.0], [1.0, 2.0, 3.0], 0.05, "seeds did not take effect"),
    ("paired", [1.1, 1.2, 1.3], [0.1, 0.2, 0.3], 0.05, "seeds did not take effect"),  # equal up to rounding
    ("paired", [0.0, 0.0], [0.0, 0.0], 0.05, "seeds did not take effect"),
    ("paired", [1.0, math.nan], [1.0, 2.0], 0.05, "not finite"),
    ("paired", [1.0, math.inf], [1.0, math.inf], 0.05, "not finite"),
    ("paired", [1.0, 2.0], [1.0, 4.0], 1.0, "alpha"),
    ("unpaired", [1.0], [2.0, 3.0], 0.05, "add seeds"),
    ("unpaired", [1.0, 1.0], [2.0, 2.0], 0.05, "seeds did not take effect"),
    ("unpaired", [1.0, -math.inf], [2.0, 3.0], 0.05, "not finite"),
    ("unpaired", [1.0, 2.0], [1.0, 4.0], 0.0, "alpha"),
]


@pytest.mark.parametrize(("kind", "a", "b", "alpha", "words"), BAD)
def test_what_cannot_be_compared_gets_one_clear_line(kind, a, b, alpha, words):
    compare = {"paired": compare_paired, "unpaired": compare_unpaired}[kind]
    with pytest.raises(ValueError, match=words) as caught:
        compare(a, b, alpha)
    assert "\n" not in str(caught.value)
