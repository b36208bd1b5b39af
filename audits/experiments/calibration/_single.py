"""Calibration of what is said about single runs, and of procedures that look sound and are not: the traps."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
from scipy import stats

from audits.experiments.calibration._case import Case, Trial
from audits.experiments.calibration._means import paired_p
from audits.experiments.calibration._noise import NOISE, Flags, normal, skewed
from audits.statistics.levels import ALPHA
from audits.statistics.tipping import best_of_tipping_point
from audits.statistics.trend import cochran_armitage

ARMS = 4  # shares of the graduated sweep that compete for the best
LENDERS = 5
GAP = 8.0  # SDs between single runs, for power


def cases() -> Iterator[Case]:
    """Single runs first, then the traps."""
    for name in NOISE:
        text = f"{name} noise of known SD, best of {ARMS} arms"
        yield Case("tipping point", 1, text, _best(name), f"{GAP:g} SD", _best(name, GAP))
    same = f"normal noise, SD from {LENDERS} runs of a system with the same noise"
    yield Case("borrowed SD", 1, same, _borrowed(1.0), f"{GAP:g} SD", _borrowed(1.0, GAP))
    yield from _traps()


def _traps() -> Iterator[Case]:
    lender = f"normal noise, SD from {LENDERS} runs of a system with half the noise"
    why = "nobody knows that the lender is as noisy, so a verdict never rests on it; it is a sensitivity analysis"
    yield Case("borrowed SD", 1, lender, _borrowed(0.5), trap=why)
    for n in (3, 5, 10):
        why = "a percentile bootstrap of few runs is too narrow; the t interval is used"
        yield Case("bootstrap interval", n, "normal noise, truth outside the 95 % interval", _bootstrap(n), trap=why)
        why = "the best arm was picked by the data it is tested on; correct for the arms (Holm) or use fresh seeds"
        setting = f"normal noise, best of {ARMS} equal arms, one-sided"
        yield Case("paired t of the best", n, setting, _picked(n), trap=why)
        why = "a treatment that changes the shape of the noise, not its mean: few seeds cannot tell"
        yield Case("paired t", n, "differences skewed (log-normal), mean 0", _lopsided(n), trap=why)
    why = "its normal approximation is off at 5 runs a cell; the exact trend test is used"
    for doses in ((20, 24, 28, 32), (8, 10, 12, 14, 20, 24, 28, 32)):
        yield Case("Cochran-Armitage", 5, f"rate 0.8 at {len(doses)} hub counts", _asymptotic(doses, 0.8), trap=why)


def _best(noise: str, effect: float = 0.0) -> Trial:
    """Whether the known SD, 1, lies below the tipping point of the gap between the control and the best arm."""
    tipping = best_of_tipping_point(1.0, ARMS, ALPHA).sigma  # proportional to the gap

    def trial(rng: np.random.Generator, draws: int) -> Flags:
        runs = NOISE[noise](rng, (ARMS + 1, draws))
        gap = runs[0] + effect - runs[1:].min(axis=0)
        return np.asarray(gap * tipping >= 1.0)

    return trial


def _borrowed(lender_sd: float, effect: float = 0.0) -> Trial:
    def trial(rng: np.random.Generator, draws: int) -> Flags:
        gap = np.abs(effect + normal(rng, (draws,)) - normal(rng, (draws,)))
        sd = lender_sd * normal(rng, (draws, LENDERS)).std(axis=1, ddof=1)
        return np.asarray(2 * stats.t.sf(gap / (np.sqrt(2) * sd), LENDERS - 1) <= ALPHA)

    return trial


def _bootstrap(n: int, resamples: int = 1000) -> Trial:
    """Percentile intervals; for 3 runs the 27 equally likely resamples are all taken."""

    def trial(rng: np.random.Generator, draws: int) -> Flags:
        every = np.array(list(product(range(n), repeat=n))) if n == 3 else rng.integers(0, n, (resamples, n))
        means = normal(rng, (draws, n))[:, every].mean(axis=2)
        low, high = np.quantile(means, [0.025, 0.975], axis=1, method="inverted_cdf")
        return np.asarray((low > 0) | (high < 0))

    return trial


def _picked(n: int) -> Trial:
    def trial(rng: np.random.Generator, draws: int) -> Flags:
        arms, control = normal(rng, (ARMS, draws, n)), normal(rng, (draws, n))
        best = arms.mean(axis=2).argmin(axis=0)
        gaps = arms[best, np.arange(draws)] - control
        return np.asarray((paired_p(gaps) <= 2 * ALPHA) & (gaps.mean(axis=1) < 0))

    return trial


def _lopsided(n: int) -> Trial:
    return lambda rng, draws: paired_p(skewed(rng, (draws, n))) <= ALPHA


def _asymptotic(doses: tuple[int, ...], rate: float) -> Trial:
    def trial(rng: np.random.Generator, draws: int) -> Flags:
        hits = rng.binomial(5, rate, (draws, len(doses))).tolist()
        return np.array([cochran_armitage(doses, row, 5).p <= ALPHA for row in hits])

    return trial
