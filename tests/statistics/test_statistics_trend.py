import math
from itertools import combinations, permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from audits.statistics.counts import Counts
from audits.statistics.trend import (
    Direction,
    cochran_armitage,
    exact_trend_power,
    on_grid,
    tails_over_runs,
    tails_within_seeds,
    trend_over_cells,
)

HUBS = (8, 10, 12, 14, 20, 24, 28, 32)
LOG_HUBS = tuple(math.log2(m) for m in HUBS)


def trend_over_runs(doses, counts, direction=Direction.EITHER):
    """The p of the trend of `counts` [cells] over `doses`, all runs being exchangeable."""
    grid, hits = on_grid(doses), [count.successes for count in counts]
    tails = tails_over_runs(grid, tuple(count.trials for count in counts), sum(hits), direction)
    return tails.p[np.dot(grid, hits)]


def trend_within_seeds(doses, outcomes, direction=Direction.EITHER):
    """The p of the trend of `outcomes` [seeds, cells] over `doses`, the runs of each seed being exchangeable."""
    grid, hits = on_grid(doses), np.asarray(outcomes, dtype=np.int64)
    tails = tails_within_seeds(grid, tuple(sorted(hits.sum(axis=1).tolist())), direction)
    return tails.p[np.dot(grid, hits.sum(axis=0))]


def p_by_listing(sums, observed, mean):
    """The one- and two-sided p of an observed sum among equally likely ones."""
    sums = np.asarray(sums)
    far = np.abs(sums - mean) >= abs(observed - mean) - 1e-9
    return {
        Direction.FALLING: np.mean(sums <= observed + 1e-9),
        Direction.RISING: np.mean(sums >= observed - 1e-9),
        Direction.EITHER: np.mean(far),
    }


@settings(derandomize=True, deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 3), st.integers(3, 4)), min_size=2, max_size=4))
def test_the_trend_over_runs_agrees_with_listing_every_way_to_deal_out_the_outcomes(cells):
    doses = [dose for dose, _, _ in cells]
    if len(set(doses)) < 2:
        return
    counts = [Counts(hits, trials) for _, hits, trials in cells]
    runs = [dose for dose, _, trials in cells for _ in range(trials)]
    hits = sum(count.successes for count in counts)
    observed = sum(dose * hit for dose, hit, _ in cells)
    known = p_by_listing([sum(chosen) for chosen in combinations(runs, hits)], observed, hits * np.mean(runs))
    for direction in Direction:
        assert trend_over_runs(doses, counts, direction) == pytest.approx(known[direction])


@settings(derandomize=True, deadline=None, max_examples=30)
@given(st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=1, max_size=3))
def test_the_trend_within_seeds_agrees_with_listing_the_rearrangements_of_each_seed(outcomes):
    doses = (1, 2, 4, 7)
    rearranged = [[sum(chosen) for chosen in combinations(doses, sum(row))] for row in outcomes]
    sums = [sum(parts) for parts in product(*rearranged)]
    observed = float(np.sum(np.asarray(outcomes) * np.asarray(doses)))
    known = p_by_listing(sums, observed, np.mean(sums))
    for direction in Direction:
        assert trend_within_seeds(doses, outcomes, direction) == pytest.approx(known[direction])


def test_a_falling_sweep_is_found_and_is_no_rise():
    counts = [Counts(hits, 5) for hits in (5, 4, 5, 4, 3, 3, 2, 1)]
    assert trend_over_runs(LOG_HUBS, counts, Direction.FALLING) < 0.001
    assert trend_over_runs(LOG_HUBS, counts, Direction.RISING) > 0.999


def test_the_smallest_p_is_that_of_the_most_extreme_arrangement_and_without_variation_it_is_one():
    smallest = tails_over_runs((0, 1), (3, 3), 3, Direction.FALLING).smallest
    assert smallest == trend_over_runs((1, 2), [Counts(3, 3), Counts(0, 3)], Direction.FALLING)
    assert smallest == pytest.approx(1 / math.comb(6, 3))
    assert tails_over_runs((0, 1), (3, 3), 6, Direction.EITHER).smallest == 1.0


def test_the_unit_and_the_order_of_the_doses_do_not_matter():
    counts = [Counts(hits, 5) for hits in (5, 4, 2, 1)]
    plain = trend_over_runs((1, 2, 3, 4), counts)
    assert trend_over_runs((-0.1, -0.05, 0.0, 0.05), counts) == pytest.approx(plain)
    assert trend_over_runs((4, 3, 2, 1), counts[::-1]) == pytest.approx(plain)
    assert trend_over_runs((1000, 2000, 3000, 4000), counts) == pytest.approx(plain)


@pytest.mark.parametrize("direction", list(Direction))
def test_the_computed_power_agrees_with_simulated_sweeps(direction):
    rates, rng = (0.9, 0.8, 0.5, 0.3), np.random.default_rng(31)
    hits = rng.binomial(5, rates, size=(800, 4)).tolist()
    rejected = sum(trend_over_runs((1, 2, 3, 4), [Counts(h, 5) for h in row], direction) <= 0.05 for row in hits)
    exact = exact_trend_power((1, 2, 3, 4), rates, 5, direction)
    assert stats.binomtest(rejected, 800, min(exact, 1.0)).pvalue > 1e-4


@settings(derandomize=True, deadline=None, max_examples=30)
@given(st.floats(0, 1), st.integers(1, 5), st.sampled_from(list(Direction)), st.sampled_from([0.05, 0.0025]))
def test_the_exact_trend_never_exceeds_its_level_at_any_rate(rate, trials, direction, alpha):
    assert exact_trend_power((1, 2, 3, 8), [rate] * 4, trials, direction, alpha) <= alpha + 1e-9


def test_the_normal_approximation_exceeds_its_level_on_four_cells_of_five_runs_where_the_exact_test_keeps_it():
    cells = (20, 24, 28, 32)
    tables = list(product(range(6), repeat=4))
    likelihood = stats.binom.pmf(tables, 5, 0.8).prod(axis=1)
    assert likelihood @ [cochran_armitage(cells, hits, 5).p <= 0.05 for hits in tables] > 0.07
    assert exact_trend_power(cells, [0.8] * 4, 5) < 0.02


def test_with_many_runs_the_exact_trend_agrees_with_cochran_and_armitage():
    hits = (18, 16, 17, 13)
    doses = (1.0, 2.3, 3.1, 4.7)  # few sums tie, so that the exact distribution is nearly continuous
    exact = trend_over_runs(doses, [Counts(h, 20) for h in hits])
    assert exact == pytest.approx(cochran_armitage(doses, hits, 20).p, rel=0.15)


def shared_seeds(rng, spread=4.0, seeds=5, cells=6):
    """Outcomes [seeds, cells] at one rate for every dose, where some seeds fail everywhere."""
    luck = rng.normal(0.0, spread, (seeds, 1))
    return rng.random((seeds, cells)) < 1 / (1 + np.exp(-luck))


def test_seeds_that_fail_together_make_only_the_test_within_seeds_powerful():
    rng, falling = np.random.default_rng(32), np.array([0.9, 0.9, 0.8, 0.5, 0.2, 0.0])
    within, over = 0, 0
    for _ in range(200):
        good = rng.random((5, 1)) < 0.5  # the others fail at every dose
        outcomes = (rng.random((5, 6)) < falling) & good
        within += trend_within_seeds(range(6), outcomes.tolist()) <= 0.05
        over += trend_over_runs(range(6), [Counts(int(h), 5) for h in outcomes.sum(axis=0)]) <= 0.05
    assert within > over


def test_the_trend_within_seeds_keeps_its_level_where_seeds_fail_together():
    rng = np.random.default_rng(33)
    alarms = sum(trend_within_seeds(range(6), shared_seeds(rng).tolist()) <= 0.05 for _ in range(500))
    assert alarms <= stats.binom.isf(1e-4, 500, 0.05)


BAD = [
    (lambda: trend_over_cells((1, 2), [Counts(1, 2)]), "one count for each dose"),
    (lambda: trend_over_cells((1, math.inf), [Counts(1, 2)] * 2), "2 different finite"),
    (lambda: on_grid((3, 3)), "2 different"),
    (lambda: on_grid((1, math.nan)), "finite"),
    (lambda: tails_over_runs((0, 1), (101, 101), 2, Direction.EITHER), "cochran_armitage"),
    (lambda: exact_trend_power((1, 2), (0.5, 1.5), 5), "true rate"),
]


@pytest.mark.parametrize(("call", "words"), BAD, ids=[words for _, words in BAD])
def test_a_trend_that_cannot_be_tested_gets_one_clear_line(call, words):
    with pytest.raises(ValueError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_the_trend_over_cells_agrees_with_listing_the_orders_of_the_cells():
    doses, hits = (1, 2, 4, 7), (5, 4, 4, 1)
    sums = [float(np.dot(order, doses)) for order in permutations(hits)]
    known = p_by_listing(sums, float(np.dot(hits, doses)), np.mean(sums))
    for direction in Direction:
        assert trend_over_cells(doses, [Counts(h, 5) for h in hits], direction).p == pytest.approx(known[direction])


def test_cells_that_fall_in_order_reach_the_smallest_p_and_many_cells_are_drawn_repeatably():
    few = trend_over_cells((1, 2, 3, 4), [Counts(h, 5) for h in (5, 4, 3, 1)], Direction.FALLING)
    assert few.p == few.smallest_p == pytest.approx(1 / 24)
    counts = [Counts(h, 12) for h in range(12, 0, -1)]
    many = trend_over_cells(range(12), counts, Direction.FALLING)
    assert many.sampled
    assert many == trend_over_cells(range(12), counts, Direction.FALLING)
    assert 0 < many.p < 1e-3
    assert trend_over_cells(range(12), counts, Direction.RISING).p == 1.0


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5)), min_size=2, max_size=5, unique_by=lambda cell: cell[0])
)
def test_no_order_of_the_cells_has_a_p_below_the_smallest_of_its_direction(cells):
    doses, counts = [dose for dose, _ in cells], [Counts(hits, 5) for _, hits in cells]
    for direction in Direction:
        found = [trend_over_cells(doses, list(order), direction) for order in permutations(counts)]
        assert min(one.p for one in found) == pytest.approx(found[0].smallest_p)


def test_rates_that_differ_without_a_trend_alarm_the_test_over_runs_and_not_the_one_over_cells():
    rng, rates = np.random.default_rng(34), np.array([1.0, 0.9, 0.9, 0.7, 0.4, 0.3])
    hits = rng.binomial(5, rng.permuted(np.tile(rates, (400, 1)), axis=1)).tolist()
    counted = [[Counts(h, 5) for h in row] for row in hits]
    over_runs = sum(trend_over_runs(range(6), counts) <= 0.05 for counts in counted)
    over_cells = sum(trend_over_cells(range(6), counts).p <= 0.05 for counts in counted)
    assert over_runs > 60
    assert over_cells <= stats.binom.isf(1e-4, 400, 0.05)
