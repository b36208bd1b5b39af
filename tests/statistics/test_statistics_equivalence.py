import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from audits.statistics.crossed import slope_weights
from audits.statistics.multiplicity import holm
from audits.statistics.t_test import equivalence_p


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
    p = equivalence_p([x for x, _ in pairs], [y for _, y in pairs], margin)
    assert p == pytest.approx(max(above, below), rel=1e-6, abs=1e-12)


def test_pairs_that_differ_by_the_margin_are_called_equivalent_in_at_most_alpha_of_simulations():
    gaps = np.random.default_rng(43).normal(1.0, 0.5, size=(1000, 4)).tolist()
    alarms = sum(equivalence_p(row, [0.0] * 4, 1.0) <= 0.05 for row in gaps)
    assert stats.binomtest(alarms, 1000, 0.05).pvalue > 1e-4


def test_tests_whose_p_nobody_can_compute_count_in_the_family_of_holm():
    found = holm([0.002, 0.03], family=20)
    assert [test.adjusted for test in found] == pytest.approx([20 * 0.002, 19 * 0.03])
    assert [test.rejected for test in found] == [True, False]


BAD = [
    (lambda: slope_weights((2.0, 2.0)), "2 different"),
    (lambda: equivalence_p([1.0, 2.0], [1.0, 2.5], 0.0), "fix it before"),
    (lambda: equivalence_p([1.0, 2.0], [1.0, 2.5], math.nan), "fix it before"),
    (lambda: equivalence_p([1.0, 2.0], [0.0, 1.0], 1.0), "seeds did not take effect"),
    (lambda: equivalence_p([1.0, 2.0], [1.0], 1.0), "equally many"),
    (lambda: holm([math.nan]), "between 0 and 1"),
    (lambda: holm([0.1, 0.1], family=1), "cannot hold"),
]


@pytest.mark.parametrize(("call", "words"), BAD)
def test_what_cannot_be_contrasted_gets_one_clear_line(call, words):
    with pytest.raises(ValueError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)
