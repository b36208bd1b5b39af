"""Judging `hub-count` from the sweep: is the band M = 8 to 14 reliable, and does convergence fall beyond it?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from audits.claims.claim import ClaimVerdict, Judgement
from audits.claims.hubrouter._hub_sweep import PLAIN, Sweep, rates_figure, recall_figure, scale, table
from audits.formatting import Table, p_text, percent
from audits.statistics.contrast import contrast, slope_weights
from audits.statistics.counts import Counts, least_rate
from audits.statistics.levels import ALPHA, POWER
from audits.statistics.trend_cells import trend_over_cells
from audits.statistics.trend_design import detectable_trend, exact_trend_power, trend_runs_needed
from audits.statistics.trend_exact import TrendTest, trend_over_runs, trend_within_seeds

FIRST, LAST_RELIABLE = 8, 14  # the band that the claim calls reliable
RELIABLE_SHARE = 0.8  # "4-5 of 5"
LEFT = 1 / 3  # the stated fall: the rate at the largest M is a third of the band's (our reading, .9 to .3)
RUNS = 200  # the exact trend test takes so many at most; more are not planned for


@dataclass(frozen=True)
class Found:
    """What the sweep says: counts of the cells from M = 8 on, the trend over them, and its power here."""

    grid: tuple[int, ...]
    counts: tuple[Counts, ...]
    test: TrendTest
    within_seeds: float  # p
    over_cells: float  # p where cells may differ without a trend
    power: float  # against a fall from the band's own rate to a third of it
    band: Counts

    @property
    def reliable(self) -> bool:
        """Whether every cell of the band converged in at least four of five runs."""
        cells = (c for m, c in zip(self.grid, self.counts, strict=True) if m <= LAST_RELIABLE)
        return all(c.successes >= RELIABLE_SHARE * c.trials for c in cells)

    @property
    def rate(self) -> float:
        """The band's own rate."""
        return self.band.successes / self.band.trials


def falling(grid: Sequence[int], rate: float, final: float) -> tuple[float, ...]:
    """True rates over `grid`: `rate` up to `LAST_RELIABLE`, then falling in a straight line to `final`."""
    span = grid[-1] - LAST_RELIABLE
    return tuple(rate - max(0, m - LAST_RELIABLE) / span * (rate - final) for m in grid)


def find(sweep: Sweep) -> Found:
    """The tests on the unregularised cells with M >= 8, which the tier's design fixed beforehand."""
    grid = tuple(m for m in sweep.hubs(PLAIN) if m >= FIRST)
    counts = tuple(sweep.counts(PLAIN, m) for m in grid)
    cells = [sweep.cell(PLAIN, m) for m in grid]
    seeds = min(len(cell) for cell in cells)
    outcomes = [[cell[seed].converged for cell in cells] for seed in range(seeds)]
    band = sweep.counts(PLAIN, *(m for m in grid if m <= LAST_RELIABLE))
    rate = band.successes / band.trials
    return Found(
        grid,
        counts,
        trend_over_runs(grid, counts),
        trend_within_seeds(grid, outcomes).p,
        trend_over_cells(grid, counts).p,
        exact_trend_power(grid, falling(grid, rate, LEFT * rate), seeds, alpha=ALPHA),
        band,
    )


def decide(found: Found) -> ClaimVerdict:
    """The rule fixed beforehand: the trend decides, the band's level depends on our step budget and cannot refute.

    A trend has to be one over cells too: the test over runs also rejects where rates differ without one.
    """
    if max(found.test.p, found.over_cells) <= ALPHA:
        if found.test.slope > 0:
            return ClaimVerdict.REFUTED
        return ClaimVerdict.SUPPORTED if found.reliable else ClaimVerdict.INCONCLUSIVE
    mixed = 0 < found.test.successes < found.test.runs  # where all runs end alike, the task is too easy or too hard
    no_fall = mixed and found.test.slope >= 0 and found.power >= POWER
    return ClaimVerdict.REFUTED if no_fall else ClaimVerdict.INCONCLUSIVE


def judge_runs(sweep: Sweep, printed: tuple[Table, ...]) -> Judgement:
    """The judgement from the runs; the tables of the printed counts are kept."""
    found = find(sweep)
    seeds = min(counts.trials for counts in found.counts)
    return Judgement(
        decide(found),
        f"{scale(sweep)} {_said(found)}",
        "The paper's task, grid and counts; or a task of ours on which convergence falls with M.",
        minimum_detectable_effect=f"{_detectable(found, seeds)} ({seeds} runs a cell at M = "
        f"{', '.join(map(str, found.grid))}; {percent(POWER)} power, alpha {ALPHA})",
        seeds_needed=_seeds(found),
        evidence=sweep.runs((PLAIN,)),
        tables=(table(sweep), recall_trend(sweep, found.grid), *printed),
        figures=(
            rates_figure(sweep),
            recall_figure(sweep, [(PLAIN, m) for m in sweep.hubs(PLAIN)], joined=False),
        ),
        p=max(found.test.p, found.over_cells),
    )


def _said(found: Found) -> str:
    test, where = found.test, f"M = {found.grid[0]} to {found.grid[-1]}"
    way = "rises" if test.slope > 0 else "falls" if test.slope < 0 else "stays"
    band = [f"{c} at {m}" for m, c in zip(found.grid, found.counts, strict=True) if m <= LAST_RELIABLE]
    return (
        f"Over {test.runs} runs with {where} the rate {way} (slope {test.slope:+.3f} a hub, exact trend p = "
        f"{p_text(test.p)}; within seeds {p_text(found.within_seeds)}, over cells {p_text(found.over_cells)}); a fall "
        f"from the band's rate {found.rate:.2f} to a third of it would be found with {percent(found.power)} power. The "
        f"band M = {FIRST} to {LAST_RELIABLE} {'is' if found.reliable else 'is not'} reliable here: {', '.join(band)}, "
        f"together {found.band}, at 95 % "
        f"confidence a rate of {least_rate(found.band):.2f} or more."
    )


def _detectable(found: Found, seeds: int) -> str:
    size = None
    if found.rate > 0:
        size = detectable_trend(
            found.grid, lambda s: falling(found.grid, found.rate, found.rate * (1 - s)), seeds, alpha=ALPHA, power=POWER
        )
    if size is None:
        return f"no fall from {found.rate:.2f}, not even one to 0"
    return f"a fall of the rate from {found.rate:.2f} to {found.rate * (1 - size):.2f} or lower"


def _seeds(found: Found) -> int | None:
    """Runs a cell that find the stated fall; None beyond `RUNS` in all."""
    if found.rate == 0:
        return None
    rates = falling(found.grid, found.rate, LEFT * found.rate)
    return trend_runs_needed(found.grid, rates, alpha=ALPHA, power=POWER, limit=RUNS // len(found.grid))


def recall_trend(sweep: Sweep, grid: tuple[int, ...]) -> Table:
    """A finer outcome that decides nothing: the slope of the final recall over M, one slope a seed."""
    title, header = "Slope of held-out recall over M (shown, decides nothing)", ("slope a hub", "95 % interval", "p")
    cells = [sweep.cell(PLAIN, m) for m in grid]
    seeds = range(min(len(cell) for cell in cells))
    recalls = [[cell[seed].recall for seed in seeds] for cell in cells]
    known = [[value for value in row if value is not None] for row in recalls]
    if len(seeds) < 2 or any(len(row) < len(seeds) for row in known) or len({tuple(row) for row in known}) == 1:
        return Table(title, header, (("not computable: a run diverged, or none differ", "none", "none"),))
    test = contrast(known, slope_weights(grid), ALPHA)
    row = (f"{test.difference:+.4f}", f"{test.interval.low:+.4f} to {test.interval.high:+.4f}", p_text(test.p))
    return Table(title, header, (row,))
