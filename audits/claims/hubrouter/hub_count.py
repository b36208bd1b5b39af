"""Claim `hub-count`: convergence counts out of five seeds for each number of hubs."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import product

from audits.claims.claim import Claim, ClaimVerdict, Judgement
from audits.claims.hubrouter._hub_sweep import PLAIN, sweep
from audits.claims.hubrouter._hub_trend import FIRST, FIRST_FRAGILE, LAST_RELIABLE, RELIABLE_SHARE, judge_runs
from audits.claims.hubrouter._paper import PRINTED_ALONE, SOURCE
from audits.evidence.ledger import Evidence
from audits.experiments.routing.hub_count import NAME
from audits.formatting import Table, p_text, percent
from audits.statistics.counts import Counts, boschloo, detectable_rate, exact_power, fisher, rate_interval, runs_needed
from audits.statistics.levels import ALPHA, POWER
from audits.statistics.trend import exact_trend_power

SEEDS = 5
RELIABLE = (4, 5)  # converged seeds printed for M = 8 to 14
NEXT_BELOW = 3  # the highest count that is not called reliable; the abstract prints no counts for M >= 20
GRID = (8, 10, 12, 14, 20, 24, 28, 32)  # hub counts of an assumed sweep; the paper's own grid is not printed
BAND_RATE = 0.9  # our reading of "4-5 of 5"
FINAL_RATES = (0.9, 0.7, 0.5, 0.3, 0.1)  # assumed true rates at the largest M
STEEP_FALL = 0.3  # the assumed final rate quoted in the reasoning


def cells() -> Table:
    """Every reliable count against every lower one, by Fisher and by Boschloo."""
    rows = tuple(_cell_row(Counts(high, SEEDS), Counts(low, SEEDS)) for high in RELIABLE for low in range(high))
    header = ("reliable cell", "95 % interval of its rate", "other cell", "Fisher p", "Boschloo p")
    return Table("Two cells of five seeds", header, rows)


def _cell_row(high: Counts, low: Counts) -> tuple[str, ...]:
    bounds = rate_interval(high)
    interval = f"{bounds.low:.2f} to {bounds.high:.2f}"
    return (str(high), interval, str(low), p_text(fisher(high, low)), p_text(boschloo(high, low)))


def cell_power() -> Table:
    """The power of Fisher's test between two cells by runs a cell."""
    rows = tuple(
        (f"{a} against {b}", *(percent(exact_power(fisher, a, b, n, ALPHA)) for n in (SEEDS, 10, 20, 40)))
        for a, b in ((1.0, NEXT_BELOW / SEEDS), (BAND_RATE, NEXT_BELOW / SEEDS))
    )
    header = ("true rates", *(f"{n} runs a cell" for n in (SEEDS, 10, 20, 40)))
    return Table("Power of Fisher's test between two cells", header, rows)


def falling_rates(final: float) -> tuple[float, ...]:
    """True rates over `GRID`: `BAND_RATE` up to `LAST_RELIABLE`, then falling in a straight line to `final`."""
    span = GRID[-1] - LAST_RELIABLE
    return tuple(BAND_RATE - max(0, m - LAST_RELIABLE) / span * (BAND_RATE - final) for m in GRID)


def power_of_trend(final: float) -> str:
    """How often the exact trend test finds a fall from `BAND_RATE` to `final`, as a percentage."""
    return percent(exact_trend_power(GRID, falling_rates(final), SEEDS, alpha=ALPHA))


def trend() -> Table:
    """The power of one trend test over all runs with M >= 8, by the true rate at the largest M."""
    rows = tuple((f"{final:.1f}", power_of_trend(final)) for final in FINAL_RATES)
    title = f"One trend test over {len(GRID) * SEEDS} runs (assumed grid M = {', '.join(map(str, GRID))})"
    return Table(title, (f"true rate at M = {GRID[-1]}, {BAND_RATE} up to M = {LAST_RELIABLE}", "power"), rows)


def judge_counts(reliable: tuple[int, ...], other: int, seeds: int) -> Judgement:
    """The judgement on cells of `seeds` runs: reliable counts against the count of an unreliable cell."""
    pairs = [(Counts(high, seeds), Counts(other, seeds)) for high in reliable]
    separable = all(test(a, b) <= ALPHA for (a, b), test in product(pairs, (fisher, boschloo)))
    top, below = pairs[-1]
    power = exact_power(fisher, top.successes / seeds, other / seeds, seeds, ALPHA)
    needed = [runs_needed(test, top.successes / seeds, other / seeds, ALPHA, POWER) for test in (fisher, boschloo)]
    detectable = detectable_rate(fisher, 1.0, seeds, ALPHA, POWER)
    effect = "none at this size" if detectable is None else f"a rate of {detectable:.2f} or lower against 1.00"
    return Judgement(
        ClaimVerdict.SUPPORTED if separable else ClaimVerdict.INCONCLUSIVE,
        f"In print, cells of {seeds} seeds {'can' if separable else 'cannot'} be distinguished from each other.",
        f"The count of every cell: one trend test would use all of the about 105 runs together. Over {len(GRID)} cells "
        f"with M >= {GRID[0]} it would find a fall of the rate from {BAND_RATE} to {STEEP_FALL} with "
        f"{power_of_trend(STEEP_FALL)} power.",
        minimum_detectable_effect=f"{effect} ({seeds} runs a cell, {percent(POWER)} power, alpha {ALPHA})",
        seeds_needed=max((n for n in needed if n is not None), default=None),
        tables=(cells(), cell_power(), trend()),
        details=f"{top} against an assumed {below} gives Fisher p = {p_text(fisher(top, below))} and Boschloo p = "
        f"{p_text(boschloo(top, below))}, with {percent(power)} power if the true rates were "
        f"{top.successes / seeds:.1f} and {other / seeds:.1f}. {PRINTED_ALONE}",
    )


@cache
def judge_printed() -> Judgement:
    """The judgement from the printed counts; seconds of exact tests, so done once."""
    return judge_counts(RELIABLE, NEXT_BELOW, SEEDS)


def judge(evidence: Evidence) -> Judgement:
    """Judge by the sweep; from the printed counts alone where runs of the tier's design are missing."""
    found, printed = sweep(evidence), judge_printed()
    if not found.complete(PLAIN):
        return replace(printed, missing=True)
    return judge_runs(found, printed.tables)


CLAIM = Claim(
    id="hub-count",
    statement="M = 8 to 14 hubs converge reliably; M >= 20 is increasingly seed sensitive.",
    source=f"{SOURCE}; it prints neither the counts for M >= 20 nor the grid of M",
    test=f"A supervised routing task of ours over M, learning rate and step budget. Outcome of a run: the share of "
    f"rates and budgets at which it has converged. Two two-sided permutation tests, at alpha {ALPHA}, of its slope "
    f"over M from {FIRST} on: M permuted within seeds, and whole cells permuted; both have to reject. SUPPORTED if it "
    f"falls and some rate and budget has the band as printed: every cell with M = {FIRST} to {LAST_RELIABLE} has at "
    f"least {percent(RELIABLE_SHARE)} converged. REFUTED if it does not fall and wherever the band is as printed the "
    f"95 % interval of the rate with M >= {FIRST_FRAGILE} lies above {RELIABLE_SHARE}. From print alone: Fisher's and "
    f"Boschloo's exact tests of reliable cells against the next lower count, {NEXT_BELOW} of {SEEDS}.",
    refuted_by=f"M >= {FIRST_FRAGILE} reliable wherever the band M = {FIRST} to {LAST_RELIABLE} is as printed.",
    judge=judge,
    published={"M = 8 to 14": "4-5 of 5 seeds converge", "runs in the sweep": "~105 over M = 1 to 32"},
    needs=(NAME,),
)
