"""Judging `hub-count` on the whole surface: does convergence fall with M, and where is the band M = 8 to 14 reliable?

The outcome of a run is the share of step budgets at which it has converged, so that nothing hangs on one of them. Runs
of a seed at several learning rates share weights and batches: they are one unit, whose outcome is the mean over the
rates, and M is permuted within the seeds, the same way at every rate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from audits.claims.claim import ClaimVerdict, Judgement, Scope
from audits.claims.hubrouter._hub_sweep import PLAIN, Sweep, scale, surface_figures, surface_tables
from audits.formatting import Table, p_text, percent
from audits.statistics.counts import Counts, rate_interval
from audits.statistics.levels import ALPHA, POWER
from audits.statistics.permutation import DRAWS

FIRST, LAST_RELIABLE = 8, 14  # the band that the claim calls reliable
FIRST_FRAGILE = 20
RELIABLE_SHARE = 0.8  # "4-5 of 5"
LEFT = 1 / 3  # the stated fall: the share at the largest M is a third of the band's (our reading, .9 to .3)
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Trend:
    """The slope a hub, and its two-sided p where M is permuted within seeds, and where whole cells are.

    The first null hypothesis is that M changes nothing; the second that it does in some order that is no trend.
    """

    slope: float
    within_seeds: float
    over_cells: float
    sd: float  # of the slope where M is permuted within seeds

    @property
    def p(self) -> float:
        """The larger of both: both have to reject."""
        return max(self.within_seeds, self.over_cells)

    @property
    def detectable(self) -> float:
        """The slope that the test within seeds finds with the planned power, by the normal approximation."""
        return float(stats.norm.isf(ALPHA / 2) + stats.norm.ppf(POWER)) * self.sd


def trend(hubs: Sequence[int], rows: Array) -> Trend:
    """The trend of `rows`, [seeds, hubs] outcomes; exact where at most `DRAWS` orders are possible, else sampled."""
    centred = np.asarray(hubs, dtype=np.float64) - np.mean(hubs)
    weights = centred / (centred @ centred)

    def slope(*seeds: Array, axis: int) -> Array:
        del axis  # scipy moves it to the end
        product: Array = np.mean(seeds, axis=0) @ weights
        return product.round(12)  # orders that differ by float64 rounding alone are equal

    def permuted(samples: Array) -> tuple[float, float]:
        found = stats.permutation_test(
            tuple(samples),
            slope,
            permutation_type="pairings",
            vectorized=True,
            n_resamples=DRAWS,
            batch=DRAWS,
            rng=np.random.default_rng(0),
        )
        return float(found.pvalue), float(np.std(found.null_distribution))

    within, sd = permuted(rows)
    return Trend(float(slope(*rows, axis=-1)), within, permuted(rows.mean(0, keepdims=True))[0], sd)


@dataclass(frozen=True)
class Point:
    """An operating point: how many seeds have converged in the band, cell by cell, and beyond it together."""

    lr: float
    steps: int
    band: tuple[Counts, ...]
    beyond: Counts

    @property
    def as_printed(self) -> bool:
        """Whether every cell of the band has at least four of five converged."""
        return all(c.successes >= RELIABLE_SHARE * c.trials for c in self.band)

    @property
    def least_beyond(self) -> float:
        """The lower end of the 95 % interval of the rate beyond the band."""
        return rate_interval(self.beyond).low


@dataclass(frozen=True)
class Found:
    """What the surface says about M >= 8."""

    grid: tuple[int, ...]
    trend: Trend
    points: tuple[Point, ...]
    band: float  # the mean share of the surface at which runs of the band have converged
    seeds: int

    @cached_property
    def printed(self) -> tuple[Point, ...]:
        """The operating points at which the band is as printed."""
        return tuple(point for point in self.points if point.as_printed)


def find(sweep: Sweep) -> Found:
    """The unregularised cells with M >= 8 at every rate and budget."""
    grid = tuple(m for m in sweep.hubs(PLAIN) if m >= FIRST)
    band, beyond = ([m for m in grid if m <= LAST_RELIABLE], [m for m in grid if m >= FIRST_FRAGILE])
    rows = outcomes(sweep, grid)
    points = tuple(
        Point(
            lr,
            steps,
            tuple(sweep.counts(PLAIN, [m], lr, steps) for m in band),
            sweep.counts(PLAIN, beyond, lr, steps),
        )
        for lr in sweep.rates
        for steps in sweep.budgets
    )
    return Found(grid, trend(grid, rows), points, float(rows[:, : len(band)].mean()), len(rows))


def outcomes(sweep: Sweep, grid: Sequence[int], lr: float | None = None) -> Array:
    """[seeds, hubs]: the share of budgets at which a run has converged, at one rate or on average."""
    cells = [sweep.shares(PLAIN, m, lr) for m in grid]
    seeds = sorted(set.intersection(*(set(cell) for cell in cells)))
    return np.array([[cell[seed] for cell in cells] for seed in seeds])


def decide(found: Found) -> ClaimVerdict:
    """The rule fixed before the runs; a fall that is not significant refutes nothing."""
    if found.trend.p <= ALPHA and found.trend.slope < 0:
        return ClaimVerdict.SUPPORTED if found.printed else ClaimVerdict.INCONCLUSIVE
    reliable = found.printed and all(point.least_beyond >= RELIABLE_SHARE for point in found.printed)
    return ClaimVerdict.REFUTED if reliable else ClaimVerdict.INCONCLUSIVE


def judge_runs(sweep: Sweep, printed: tuple[Table, ...]) -> Judgement:
    """The judgement from the runs; the tables of the printed counts are kept."""
    found = find(sweep)
    verdict = decide(found)
    undecided = verdict is ClaimVerdict.INCONCLUSIVE
    return Judgement(
        verdict,
        _reason(found, verdict),
        "The paper's task, learning rate, budget and grid.",
        minimum_detectable_effect=_effect(found) if undecided else None,
        seeds_needed=_seeds(found) if undecided else None,
        evidence=sweep.runs(PLAIN),
        tables=(_by_rate(sweep, found), *surface_tables(sweep, PLAIN, sweep.hubs(PLAIN)), *printed),
        details=f"{scale(sweep)} {_said(found)}",
        ours=f"{found.trend.slope:+.4f} a hub, {found.seeds} seeds",
        scope=Scope.OURS,
        figures=surface_figures(sweep, PLAIN, sweep.hubs(PLAIN)),
        p=found.trend.p,
    )


def _reason(found: Found, verdict: ClaimVerdict) -> str:
    if verdict is ClaimVerdict.SUPPORTED:
        return "On our own task convergence falls with M, and somewhere M = 8 to 14 is as reliable as printed."
    if verdict is ClaimVerdict.REFUTED:
        return "On our own task M of 20 or more is reliable wherever M = 8 to 14 is as reliable as printed."
    if not found.printed:
        return "On our own task M = 8 to 14 is as reliable as printed at no learning rate and budget."
    return "On our own task no fall with M is shown, nor that M from 20 on is reliable."


def _said(found: Found) -> str:
    t, worst = found.trend, min(found.printed, key=lambda point: point.least_beyond, default=None)
    beyond = (
        "."
        if worst is None
        else f"; there M >= {FIRST_FRAGILE} has at least {worst.beyond} (95 % interval from {worst.least_beyond:.2f}), "
        f"at learning rate {worst.lr:g} and {worst.steps} steps."
    )
    return (
        f"Outcome of a run: the share of learning rates and budgets at which it has converged, {found.band:.2f} on "
        f"average for M = {FIRST} to {LAST_RELIABLE}. Over M = {found.grid[0]} to {found.grid[-1]} it changes by "
        f"{t.slope:+.4f} a hub: p = {p_text(t.within_seeds)} where M is permuted within seeds, the same way at every "
        f"rate, {p_text(t.over_cells)} where whole cells are. The band is as printed (4-5 of 5 in every cell) at "
        f"{len(found.printed)} of {len(found.points)} operating points{beyond}"
    )


def _span(found: Found) -> int:
    return found.grid[-1] - found.grid[0]


def _effect(found: Found) -> str:
    fall = found.trend.detectable * _span(found)
    return (
        f"a fall by {fall:.2f} between M = {found.grid[0]} and {found.grid[-1]} of the share at which a run has "
        f"converged ({found.seeds} seeds, {percent(POWER)} power, alpha {ALPHA})"
    )


def _seeds(found: Found) -> int | None:
    """Seeds that find a fall to a third of the band's share; None where the band never converges."""
    stated = (1 - LEFT) * found.band
    return math.ceil(found.seeds * (found.trend.detectable * _span(found) / stated) ** 2) if stated else None


def _by_rate(sweep: Sweep, found: Found) -> Table:
    """The trend at each rate, and where the band is as printed."""
    header = (
        "learning rate",
        "slope a hub",
        "p within seeds",
        "p over cells",
        "budgets with the band as printed",
        f"M >= {FIRST_FRAGILE} at the first of them",
        "its 95 % interval",
    )
    return Table("The trend at each learning rate", header, tuple(_rate_row(sweep, found, lr) for lr in sweep.rates))


def _rate_row(sweep: Sweep, found: Found, lr: float) -> tuple[str, ...]:
    t = trend(found.grid, outcomes(sweep, found.grid, lr))
    points = [point for point in found.printed if point.lr == lr]
    numbers = (f"{lr:g}", f"{t.slope:+.4f}", p_text(t.within_seeds), p_text(t.over_cells))
    if not points:
        return (*numbers, "none", "none", "none")
    bounds = rate_interval(points[0].beyond)
    where = ", ".join(str(point.steps) for point in points)
    return (*numbers, where, str(points[0].beyond), f"{bounds.low:.2f} to {bounds.high:.2f}")
