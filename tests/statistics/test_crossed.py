"""Seeds and blocks of text as crossed noise: intervals that cover, against simulation and the plain paired t."""

from __future__ import annotations

import numpy as np
import pytest

from audits.statistics.crossed import crossed
from audits.statistics.t_test import paired


def drawn(rng: np.random.Generator, seeds: float, blocks: float, rest: float, n: int = 5, many: int = 16) -> np.ndarray:
    """[n][many] of mean 0 with these SDs of seeds, blocks and the residual."""
    parts = (seeds * rng.standard_normal((n, 1)), blocks * rng.standard_normal((1, many)))
    return sum(parts) + rest * rng.standard_normal((n, many))


@pytest.mark.parametrize(("seeds", "blocks", "rest"), [(1.0, 0.0, 0.1), (0.2, 2.0, 0.3), (0.5, 1.0, 0.5)])
def test_the_interval_covers_whatever_the_noise_comes_from(seeds: float, blocks: float, rest: float) -> None:
    rng = np.random.default_rng(0)
    tests = [crossed(drawn(rng, seeds, blocks, rest).tolist()) for _ in range(250)]
    covered = np.mean([t.interval.low <= 0 <= t.interval.high for t in tests])
    assert 0.92 <= covered <= 0.99
    assert np.mean([t.p <= 0.05 for t in tests]) == pytest.approx(1 - covered)


def test_seeds_alone_would_not_cover_the_noise_of_the_text() -> None:
    rng = np.random.default_rng(1)
    draws = [drawn(rng, 0.2, 2.0, 0.3) for _ in range(300)]
    naive = [paired(d.mean(1).tolist(), [0.0] * 5).interval for d in draws]
    assert np.mean([i.low <= 0 <= i.high for i in naive]) < 0.6


def test_without_noise_of_the_text_it_is_the_paired_t() -> None:
    seeds = [0.3, 0.1, 0.5, 0.2]
    test, plain = crossed([[s] * 8 for s in seeds]), paired(seeds, [0.0] * 4)
    assert test.interval.low == pytest.approx(plain.interval.low)
    assert test.p == pytest.approx(plain.p)
    assert (test.n, test.sd) == (4, pytest.approx(plain.standard_error * 2))


def test_equivalence_holds_within_a_wide_margin_and_not_within_a_narrow_one() -> None:
    found = crossed(drawn(np.random.default_rng(2), 0.01, 0.01, 0.01).tolist())
    assert found.within(0.1) < 0.01 < 0.3 < found.within(0.001)


def test_more_seeds_are_not_promised_where_the_text_alone_hides_the_difference() -> None:
    values = (0.05 + drawn(np.random.default_rng(3), 0.1, 5.0, 0.1)).tolist()
    assert crossed(values).seeds_needed is None


@pytest.mark.parametrize(
    "bad", [[[1.0, 2.0]], [[1.0], [2.0]], [[1.0, float("nan")], [0.0, 1.0]], [[1.0, 2.0], [2.0, 1.0]]]
)
def test_what_has_no_interval_is_refused(bad: list[list[float]]) -> None:
    with pytest.raises(ValueError, match=r"matrix|equal"):
        crossed(bad)
