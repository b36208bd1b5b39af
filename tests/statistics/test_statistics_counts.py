import math
from itertools import product

import numpy as np
import pytest
from scipy import stats

from audits.statistics.counts import Counts, boschloo, detectable_rate, exact_power, fisher, rate_interval, runs_needed
from audits.statistics.trend import cochran_armitage


@pytest.mark.parametrize("n", [4, 7])
def test_boschloo_is_never_the_larger_at_equal_n(n):
    for a, b in product(range(n + 1), repeat=2):
        assert boschloo(Counts(a, n), Counts(b, n)) <= fisher(Counts(a, n), Counts(b, n)) + 1e-9


def test_boschloo_may_be_the_larger_at_unequal_n():
    one, other = Counts(1, 4), Counts(0, 7)
    assert fisher(one, other) == pytest.approx(4 / 11)
    assert boschloo(one, other) == pytest.approx(0.403, abs=0.001)


def test_fisher_and_boschloo_give_the_known_values_and_boschloo_is_never_the_larger():
    assert fisher(Counts(5, 5), Counts(3, 5)) == pytest.approx(4 / 9)
    assert fisher(Counts(5, 5), Counts(0, 5)) == pytest.approx(2 / 252)
    assert boschloo(Counts(5, 5), Counts(0, 5)) == pytest.approx(2 / 1024)
    for high, low in product(range(6), repeat=2):
        assert boschloo(Counts(high, 5), Counts(low, 5)) <= fisher(Counts(high, 5), Counts(low, 5)) + 1e-9


def test_arms_with_equal_counts_are_never_distinguished():
    for k in (0, 2, 5):
        assert fisher(Counts(k, 5), Counts(k, 5)) == pytest.approx(1.0)
        assert boschloo(Counts(k, 5), Counts(k, 5)) == pytest.approx(1.0)


def test_the_power_of_five_against_five_runs_is_nine_percent_as_counted_by_hand():
    by_hand = stats.binom.cdf(1, 5, 0.6)  # against 5/5 only 0 or 1 of 5 is significant
    assert exact_power(fisher, 1.0, 0.6, 5) == pytest.approx(by_hand)
    assert by_hand == pytest.approx(0.087, abs=1e-3)


@pytest.mark.parametrize("test", [fisher, boschloo])
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_the_exact_count_tests_keep_their_false_positive_rate(test, rate):
    assert exact_power(test, rate, rate, 6) <= 0.05 + 1e-9


def test_exact_power_agrees_with_a_seeded_simulation():
    rng = np.random.default_rng(7)
    pairs = zip(rng.binomial(6, 0.95, 2000).tolist(), rng.binomial(6, 0.3, 2000).tolist(), strict=True)
    alarms = sum(fisher(Counts(a, 6), Counts(b, 6)) <= 0.05 for a, b in pairs)
    assert stats.binomtest(alarms, 2000, exact_power(fisher, 0.95, 0.3, 6)).pvalue > 1e-4


def test_the_detectable_rate_has_the_wanted_power_and_is_none_when_nothing_can_be_detected():
    rate = detectable_rate(fisher, 1.0, 5)
    assert exact_power(fisher, 1.0, rate, 5) == pytest.approx(0.8, abs=2e-3)
    assert detectable_rate(fisher, 1.0, 3) is None


def test_runs_needed_is_the_first_number_that_suffices():
    needed = runs_needed(fisher, 1.0, 0.3)
    assert exact_power(fisher, 1.0, 0.3, needed) >= 0.8
    assert exact_power(fisher, 1.0, 0.3, needed - 1) < 0.8
    assert runs_needed(fisher, 1.0, 0.9, limit=8) is None


def test_the_rate_interval_is_clopper_pearson():
    for (successes, trials), level in product(((0, 1), (0, 5), (4, 5), (5, 5), (37, 4000)), (0.0, 0.9, 0.999)):
        found = rate_interval(Counts(successes, trials), level)
        known = stats.binomtest(successes, trials).proportion_ci(level, method="exact")
        assert (found.low, found.high) == pytest.approx((known.low, known.high), abs=1e-11)


def test_the_trend_statistic_is_the_correlation_of_dose_and_outcome_times_the_root_of_the_runs():
    doses, hits = (8, 10, 14, 20, 32), (5, 5, 4, 2, 1)
    outcomes = [run < hit for hit in hits for run in range(5)]
    ours = cochran_armitage(doses, hits, 5)
    assert ours.z == pytest.approx(stats.pearsonr(np.repeat(doses, 5), outcomes).statistic * math.sqrt(25), rel=1e-9)
    assert ours.z < 0
    assert ours.p < 0.05


@pytest.mark.parametrize(
    ("rates", "low", "high"), [([0.8] * 8, 0.03, 0.06), ([0.95] * 4 + [0.6, 0.4, 0.2, 0.1], 0.95, 1)]
)
def test_the_trend_test_keeps_its_false_positive_rate_and_finds_a_steep_fall(rates, low, high):
    hits = np.random.default_rng(0).binomial(5, rates, (5000, 8)).tolist()
    rejected = np.mean([cochran_armitage((8, 10, 12, 14, 20, 24, 28, 32), row, 5).p <= 0.05 for row in hits])
    assert low < rejected <= high


def test_no_variation_is_no_trend():
    assert cochran_armitage((1, 2, 3), (5, 5, 5), 5).z == 0.0
    assert cochran_armitage((1, 2, 3), (0, 0, 0), 5).p == 1.0


BAD = [
    (lambda: Counts(6, 5), "successes <= trials"),
    (lambda: exact_power(fisher, 1.1, 0.5, 5), "rates in"),
    (lambda: cochran_armitage((1, 1), (2, 3), 5), "2 different doses"),
    (lambda: cochran_armitage((1, 2), (2, 6), 5), "between 0 and the 5 runs"),
]


@pytest.mark.parametrize(("call", "words"), BAD, ids=[words for _, words in BAD])
def test_bad_counts_get_one_clear_line(call, words):
    with pytest.raises(ValueError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)
