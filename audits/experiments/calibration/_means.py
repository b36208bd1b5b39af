"""Calibration of the tests of means: paired and unpaired t, permutation, equivalence, contrasts, a Holm family.

Whole batches are tested at once, with scipy; a test holds them against `audits.statistics` value by value.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from itertools import combinations, product

import numpy as np
from scipy import stats

from audits.experiments.calibration._case import Case, Trial
from audits.experiments.calibration._noise import NOISE, Flags, Floats, Sampler, normal
from audits.statistics.levels import ALPHA

SIZES = (3, 5, 10)
EFFECT = 2.0  # SDs of a per-seed difference (paired) or of a run (unpaired)
MARGIN = 2.0  # of the equivalence tests, in the same units
FAMILY = 20
BLOCKS = 64  # of text
FAMILY_EFFECT = 4.0


def paired_p(gaps: Floats) -> Floats:
    """Two-sided p of the paired t test for each row of differences, [draws, n] -> [draws]."""
    return np.asarray(stats.ttest_1samp(gaps, 0.0, axis=1).pvalue)


def welch_p(a: Floats, b: Floats) -> Floats:
    """Two-sided p of Welch's test for each row, [draws, n] -> [draws]."""
    return np.asarray(stats.ttest_ind(a, b, axis=1, equal_var=False).pvalue)


def sign_flip_p(gaps: Floats) -> Floats:
    """Two-sided p of the sign-flip test for each row, [draws, n] -> [draws]."""
    return _twice_the_smaller_tail(gaps @ _signs(gaps.shape[1]).T, gaps.sum(axis=1))


def two_sample_p(a: Floats, b: Floats) -> Floats:
    """Two-sided p of the two-sample permutation test for each row, [draws, n] -> [draws]."""
    runs = np.concatenate([a, b], axis=1)
    return _twice_the_smaller_tail(runs @ _splits(runs.shape[1], a.shape[1]).T, a.sum(axis=1))


def paired_tost_p(gaps: Floats, margin: float) -> Floats:
    """The larger one-sided p of the paired equivalence test for each row, [draws, n] -> [draws]."""
    above = stats.ttest_1samp(gaps, -margin, axis=1, alternative="greater").pvalue
    below = stats.ttest_1samp(gaps, margin, axis=1, alternative="less").pvalue
    return np.asarray(np.maximum(above, below))


def welch_tost_p(a: Floats, b: Floats, margin: float) -> Floats:
    """The larger one-sided p of the unpaired equivalence test for each row, [draws, n] -> [draws]."""
    above = stats.ttest_ind(a + margin, b, axis=1, equal_var=False, alternative="greater").pvalue
    below = stats.ttest_ind(a - margin, b, axis=1, equal_var=False, alternative="less").pvalue
    return np.asarray(np.maximum(above, below))


def crossed_p(values: Floats) -> Floats:
    """Two-sided p of the mean of crossed seeds and blocks of text, [draws, n, blocks] -> [draws]."""
    seeds, blocks = values.mean(2), values.mean(1)
    of_seeds, of_text = (part.var(axis=1, ddof=1) / part.shape[1] for part in (seeds, blocks))
    total = of_seeds + of_text
    df = total**2 / (of_seeds**2 / (seeds.shape[1] - 1) + of_text**2 / (blocks.shape[1] - 1))
    return np.asarray(2 * stats.t.sf(np.abs(values.mean((1, 2))) / np.sqrt(total), df))


def cases() -> Iterator[Case]:
    """Every test of means in its settings."""
    for (name, noise), n in product(NOISE.items(), SIZES):
        setting = f"{name} noise in both arms"
        yield Case("paired t", n, setting, _paired(noise, n), f"{EFFECT:g} SD", _paired(noise, n, EFFECT))
        yield Case("Welch's t", n, setting, _welch(noise, n), f"{EFFECT:g} SD", _welch(noise, n, EFFECT))
    for n in SIZES:
        yield Case("Welch's t", n, "normal noise, SDs 1 and 3", _welch(normal, n, sd=3.0))
        yield Case("sign flips", n, "normal noise", _flips(n), f"{EFFECT:g} SD", _flips(n, EFFECT))
        at, inside = f"true difference at the margin of {MARGIN:g} SD", "no difference"
        yield Case("paired TOST", n, at, _paired_tost(n, MARGIN), inside, _paired_tost(n, 0.0))
        yield Case("unpaired TOST", n, at, _welch_tost(n, MARGIN), inside, _welch_tost(n, 0.0))
        together = "normal noise, four arms, luck of the seed shared"
        yield Case("difference of differences", n, together, _contrast(n), f"{EFFECT:g} SD", _contrast(n, EFFECT))
        text = "noise of the seeds and of the text alike, on the same blocks of text"
        yield Case("crossed seeds and text", n, text, _crossed(n), f"{EFFECT:g} SD", _crossed(n, EFFECT))
        alone = "the noise of the text, which all seeds share, is not in the test"
        yield Case("paired t over seeds alone", n, text, _seeds_alone(n), trap=alone)
        family = f"{FAMILY} paired t tests, any false rejection"
        yield Case("Holm", n, family, _holm(n), f"{FAMILY_EFFECT:g} SD in one of them", _holm(n, FAMILY_EFFECT))
    for n in (3, 5):
        yield Case("label permutation", n, "normal noise", _labels(n), f"{EFFECT:g} SD", _labels(n, EFFECT))


def _paired(noise: Sampler, n: int, effect: float = 0.0) -> Trial:
    """Arms of noise with SD 1 / sqrt(2) each, so that a difference has SD 1."""

    def trial(rng: np.random.Generator, draws: int) -> Flags:
        arms = noise(rng, (2, draws, n)) / math.sqrt(2)
        return paired_p(arms[0] - arms[1] + effect) <= ALPHA

    return trial


def _welch(noise: Sampler, n: int, effect: float = 0.0, sd: float = 1.0) -> Trial:
    def trial(rng: np.random.Generator, draws: int) -> Flags:
        arms = noise(rng, (2, draws, n))
        return welch_p(arms[0] + effect, sd * arms[1]) <= ALPHA

    return trial


def _flips(n: int, effect: float = 0.0) -> Trial:
    return lambda rng, draws: sign_flip_p(normal(rng, (draws, n)) + effect) <= ALPHA


def _labels(n: int, effect: float = 0.0) -> Trial:
    return lambda rng, draws: two_sample_p(normal(rng, (draws, n)) + effect, normal(rng, (draws, n))) <= ALPHA


def _paired_tost(n: int, difference: float) -> Trial:
    return lambda rng, draws: paired_tost_p(normal(rng, (draws, n)) + difference, MARGIN) <= ALPHA


def _welch_tost(n: int, difference: float) -> Trial:
    def trial(rng: np.random.Generator, draws: int) -> Flags:
        return welch_tost_p(normal(rng, (draws, n)) + difference, normal(rng, (draws, n)), MARGIN) <= ALPHA

    return trial


def _contrast(n: int, effect: float = 0.0) -> Trial:
    """Four arms that share a large luck of the seed; the arms' own SD of 1/2 gives the difference SD 1."""

    def trial(rng: np.random.Generator, draws: int) -> Flags:
        arms = normal(rng, (4, draws, n)) / 2 + 5 * normal(rng, (draws, n))
        return paired_p((arms[0] - arms[1]) - (arms[2] - arms[3]) + effect) <= ALPHA

    return trial


def _on_blocks(rng: np.random.Generator, draws: int, n: int) -> Floats:
    """Differences [draws, n, BLOCKS]: seeds of SD 1, blocks that move the mean as much, a residual of SD 1."""
    seeds, text = normal(rng, (draws, n, 1)), normal(rng, (draws, 1, BLOCKS)) * math.sqrt(BLOCKS / n)
    return seeds + text + normal(rng, (draws, n, BLOCKS))


def _crossed(n: int, effect: float = 0.0) -> Trial:
    return lambda rng, draws: crossed_p(_on_blocks(rng, draws, n) + effect) <= ALPHA


def _seeds_alone(n: int) -> Trial:
    return lambda rng, draws: paired_p(_on_blocks(rng, draws, n).mean(2)) <= ALPHA


def _holm(n: int, effect: float = 0.0) -> Trial:
    """Whether Holm rejects a true null (without an effect: any), or finds the one test that has the effect.

    The step-down begins at the smallest p, so a family without an effect has a false rejection exactly if
    `FAMILY` times that p is at most alpha; a test is found exactly if the smaller ones before it are rejected too.
    """

    def trial(rng: np.random.Generator, draws: int) -> Flags:
        gaps = normal(rng, (FAMILY, draws, n))
        gaps[0] += effect
        p = np.stack([paired_p(test) for test in gaps])
        return np.asarray(_holm_rejects(p)[0] if effect else _holm_rejects(p).any(axis=0))

    return trial


def _holm_rejects(p: Floats) -> Flags:
    """Holm's rejections at alpha for each column of p values, [family, draws]."""
    order = np.argsort(p, axis=0, kind="stable")
    steps = np.arange(len(p), 0, -1)[:, None] * np.take_along_axis(p, order, axis=0)
    passed = np.maximum.accumulate(steps, axis=0) <= ALPHA
    rejected = np.empty_like(passed)
    np.put_along_axis(rejected, order, passed, axis=0)
    return rejected


def _twice_the_smaller_tail(rearranged: Floats, observed: Floats) -> Floats:
    slack = 1e-12 * np.abs(rearranged).max(axis=1)[:, None]
    high = np.mean(rearranged >= observed[:, None] - slack, axis=1)
    low = np.mean(rearranged <= observed[:, None] + slack, axis=1)
    return np.asarray(np.minimum(1.0, 2 * np.minimum(high, low)))


@lru_cache
def _signs(n: int) -> Floats:
    """All patterns of signs, [2^n, n]."""
    return np.asarray(list(product((1.0, -1.0), repeat=n)))


@lru_cache
def _splits(runs: int, n: int) -> Floats:
    """All ways to choose `n` of the runs, as 0 and 1, [ways, runs]."""
    chosen = np.asarray(list(combinations(range(runs), n)))
    rows = np.zeros((len(chosen), runs))
    np.put_along_axis(rows, chosen, 1.0, axis=1)
    return rows
