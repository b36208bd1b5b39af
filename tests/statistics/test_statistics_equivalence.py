import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from audits.statistics.crossed import slope_weights
from audits.statistics.equivalence import equivalence, equivalence_paired
from audits.statistics.multiplicity import holm_by_claim

CLEAN_LARGE, CLEAN_SMALL = [5.0, 5.2, 5.1, 5.3], [5.1, 5.2, 5.15, 5.45]


def test_the_weights_of_a_slope_give_the_slope_of_each_seed():
    doses = [math.log2(c) for c in (16, 32, 64, 128)]
    arms = np.random.default_rng(41).normal(size=(4, 6))
    slopes = [stats.linregress(doses, arms[:, seed]).slope for seed in range(6)]
    assert np.asarray(slope_weights(doses)) @ arms == pytest.approx(np.asarray(slopes))


@settings(derandomize=True, deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=2, max_size=8), st.floats(0.1, 20))
def test_the_paired_equivalence_is_the_larger_of_two_one_sided_t_tests_by_scipy(pairs, margin):
    gaps = np.array([x - y for x, y in pairs])
    if np.std(gaps) < 1e-2:
        return
    above = stats.ttest_1samp(gaps, -margin, alternative="greater").pvalue
    below = stats.ttest_1samp(gaps, margin, alternative="less").pvalue
    found = equivalence_paired([x for x, _ in pairs], [y for _, y in pairs], margin)
    assert found.p == pytest.approx(max(above, below), rel=1e-6, abs=1e-12)
    assert found.difference == pytest.approx(gaps.mean())


def test_the_provable_margin_is_the_one_at_which_the_same_values_are_exactly_at_alpha():
    for test in (equivalence, equivalence_paired):
        for alpha in (0.05, 0.01):
            provable = test(CLEAN_LARGE, CLEAN_SMALL, 1.0, alpha).provable
            assert test(CLEAN_LARGE, CLEAN_SMALL, provable, alpha).p == pytest.approx(alpha, rel=1e-6)


def test_pairs_that_differ_by_the_margin_are_called_equivalent_in_at_most_alpha_of_simulations():
    gaps = np.random.default_rng(43).normal(1.0, 0.5, size=(1000, 4)).tolist()
    alarms = sum(equivalence_paired(row, [0.0] * 4, 1.0).p <= 0.05 for row in gaps)
    assert stats.binomtest(alarms, 1000, 0.05).pvalue > 1e-4


def test_holm_by_claim_keeps_the_names_and_their_order():
    p_values = {"hub-count": 0.04, "cost": 0.001, "retrofit": 0.02, "chunk-size": 0.6}
    found = holm_by_claim(p_values)
    assert list(found) == list(p_values)
    assert [f.adjusted for f in found.values()] == pytest.approx([2 * 0.04, 4 * 0.001, 3 * 0.02, 0.6])
    assert [f.rejected for f in found.values()] == [False, True, False, False]
    assert found["cost"].p == 0.001


def test_claims_whose_p_nobody_can_compute_count_in_the_family_of_holm():
    found = holm_by_claim({"a": 0.002, "b": 0.03}, family=20)
    assert [found[claim].adjusted for claim in "ab"] == pytest.approx([20 * 0.002, 19 * 0.03])
    assert [found[claim].rejected for claim in "ab"] == [True, False]


BAD = [
    (lambda: slope_weights((2.0, 2.0)), "2 different"),
    (lambda: equivalence_paired([1.0, 2.0], [1.0, 2.5], 0.0), "fix it before"),
    (lambda: equivalence_paired([1.0, 2.0], [1.0, 2.5], math.nan), "fix it before"),
    (lambda: equivalence_paired([1.0, 2.0], [0.0, 1.0], 1.0), "seeds did not take effect"),
    (lambda: equivalence_paired([1.0, 2.0], [1.0], 1.0), "equally many"),
    (lambda: equivalence_paired([1.0, 2.0], [1.0, 2.5], 1.0, 0.5), "1/2"),
    (lambda: holm_by_claim({}), "at least one"),
    (lambda: holm_by_claim({"cost": math.nan}), "cost"),
    (lambda: holm_by_claim({"a": 0.1, "b": 0.1}, family=1), "cannot hold"),
]


@pytest.mark.parametrize(("call", "words"), BAD)
def test_what_cannot_be_contrasted_gets_one_clear_line(call, words):
    with pytest.raises(ValueError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)
