"""The mean of runs measured on shared questions: its interval against Student's, its coverage, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from audits.statistics.mean import mean_of_runs


def test_without_sampling_error_it_is_students_interval() -> None:
    values = [0.81, 0.85, 0.9, 0.88]
    found = mean_of_runs(values)
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert (found.interval.low, found.interval.high) == pytest.approx((low, high))


def test_without_spread_the_questions_alone_are_left() -> None:
    found = mean_of_runs([0.5, 0.5, 0.5], 0.1)
    assert found.interval.high - found.mean == pytest.approx(0.1 * stats.norm.isf(0.025))
    assert found.runs_to_resolve(0.1) is None
    assert found.runs_to_resolve(0.2) == 2


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(1000):
        shared = generator.normal(0, 0.05)
        found = mean_of_runs((0.7 + shared + generator.normal(0, 0.05, 3)).tolist(), 0.05)
        covered += found.interval.low <= 0.7 <= found.interval.high
    assert covered >= 940


def test_more_runs_narrow_what_runs_can_narrow() -> None:
    found = mean_of_runs([0.7, 0.8, 0.9])
    needed = found.runs_to_resolve(0.05)
    assert needed is not None
    assert needed > 3
    assert found.runs_to_resolve(1.0) == 2


BAD = ([0.5], [0.5, float("nan")])


@pytest.mark.parametrize("values", BAD)
def test_bad_input_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match=r"needs|not finite"):
        mean_of_runs(values)
