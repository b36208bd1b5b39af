"""Claim `orthogonal-m6`: five of five seeds rescued; the count they were rescued from is not printed."""

from __future__ import annotations

from dataclasses import dataclass, replace

from audits.claims.claim import Claim, ClaimVerdict, Judgement
from audits.claims.hubrouter._hub_sweep import (
    ORTHOGONAL,
    PLAIN,
    Sweep,
    rates_figure,
    recall_figure,
    scale,
    sweep,
    table,
)
from audits.claims.hubrouter._paper import PRINTED_ALONE, SOURCE
from audits.evidence.ledger import Evidence
from audits.experiments.routing.hub_count import NAME
from audits.formatting import Table, p_text, percent
from audits.statistics.counts import (
    Counts,
    Discordant,
    boschloo,
    detectable_rate,
    discordant,
    exact_power,
    fisher,
    runs_needed,
)
from audits.statistics.levels import ALPHA, POWER

HUBS = 6
RESCUED = Counts(5, 5)
PLANNED_BASELINE = 0.6  # true rate without regularisation used to plan seeds (our choice: 3 of 5)


def by_baseline(rescued: Counts) -> Table:
    """Both exact tests for every count the unregularised cell may have had."""
    baselines = (Counts(k, rescued.trials) for k in range(rescued.trials + 1))
    rows = tuple((str(b), p_text(fisher(rescued, b)), p_text(boschloo(rescued, b))) for b in baselines)
    title = f"{rescued} with regularisation against every possible count without"
    return Table(title, ("without regularisation", "Fisher p", "Boschloo p"), rows)


def largest_significant(rescued: Counts) -> int | None:
    """The highest baseline count from which the rescue is significant by both tests; None if from none."""
    baselines = (Counts(k, rescued.trials) for k in range(rescued.trials, -1, -1))
    return next(
        (b.successes for b in baselines if max(fisher(rescued, b), boschloo(rescued, b)) <= ALPHA),
        None,
    )


def judge_printed(rescued: Counts) -> Judgement:
    """The judgement when the baseline count is unknown: it decides alone, so the verdict cannot be settled."""
    limit = largest_significant(rescued)
    n = rescued.trials
    known = "no baseline count" if limit is None else f"at most {limit} of {n} converged without it"
    reach = detectable_rate(fisher, rescued.successes / n, n, ALPHA, POWER)
    needed = [runs_needed(test, 1.0, PLANNED_BASELINE, ALPHA, POWER) for test in (fisher, boschloo)]
    seeds = max((k for k in needed if k is not None), default=None)
    effect = "none at this size" if reach is None else f"a rate without regularisation of {reach:.2f} or lower"
    worst, best = (fisher(rescued, Counts(k, n)) for k in (n - 1, 0))
    return Judgement(
        ClaimVerdict.INCONCLUSIVE,
        f"The abstract does not print the count without regularisation: {rescued} is significant by both exact tests "
        f"if {known}, and Fisher's p runs from {p_text(best)} (0 of {n}) to {p_text(worst)} ({n - 1} of {n}). "
        f"{PRINTED_ALONE}",
        f"The unregularised count, or {seeds} seeds an arm (enough to distinguish 1.0 from {PLANNED_BASELINE}).",
        minimum_detectable_effect=f"{effect} ({n} seeds an arm, {percent(POWER)} power, alpha {ALPHA})",
        seeds_needed=seeds,
        tables=(by_baseline(rescued),),
    )


@dataclass(frozen=True)
class Rescue:
    """M = 6 in both arms: counts, both exact p values, power against a rescue of all, and the pairs that differ.

    The power is that of Fisher's test, whose p is never the smaller one.
    """

    treated: Counts
    control: Counts
    fisher: float
    boschloo: float
    power: float
    pairs: Discordant

    @property
    def p(self) -> float:
        """The larger of both: significant only if both are."""
        return max(self.fisher, self.boschloo)


def find(found: Sweep) -> Rescue:
    """Both arms of M = 6; pairs are the seeds that both have, and both arms must have equally many runs."""
    treated, control = found.counts(ORTHOGONAL, HUBS), found.counts(PLAIN, HUBS)
    pairs = zip(found.cell(ORTHOGONAL, HUBS), found.cell(PLAIN, HUBS), strict=True)
    outcomes = [(a.converged, b.converged) for a, b in pairs]
    rate = control.successes / control.trials
    return Rescue(
        treated,
        control,
        fisher(treated, control),
        boschloo(treated, control),
        exact_power(fisher, 1.0, rate, treated.trials, ALPHA),
        discordant([a for a, _ in outcomes], [b for _, b in outcomes]),
    )


def decide(rescue: Rescue) -> ClaimVerdict:
    """The rule fixed beforehand."""
    gain = rescue.treated.successes - rescue.control.successes
    if rescue.p <= ALPHA:
        return ClaimVerdict.SUPPORTED if gain > 0 else ClaimVerdict.REFUTED
    return ClaimVerdict.REFUTED if gain <= 0 and rescue.power >= POWER else ClaimVerdict.INCONCLUSIVE


def judge_runs(found: Sweep) -> Judgement:
    """The judgement from the runs of M = 6; the table of the printed count is kept."""
    rescue, n = find(found), len(found.cell(PLAIN, HUBS))
    rate = rescue.control.successes / n
    reach = detectable_rate(fisher, 1.0, n, ALPHA, POWER)
    effect = "none at this size" if reach is None else f"all converging against a rate of {reach:.2f} or lower without"
    cells = [(PLAIN, HUBS), (ORTHOGONAL, HUBS)]
    return Judgement(
        decide(rescue),
        f"{scale(found)} With M = {HUBS}, {rescue.treated} seeds converge with the penalty (weight "
        f"{found.setting['penalty']:g}, ours) and {rescue.control} without: Fisher p = {p_text(rescue.fisher)}, "
        f"Boschloo p = {p_text(rescue.boschloo)}; a rescue of all would be found with {percent(rescue.power)} power. "
        f"Of {rescue.pairs.pairs} seeds {rescue.pairs.gained} converge with it alone and {rescue.pairs.lost} without "
        f"it alone (McNemar p = {p_text(rescue.pairs.p)}).",
        "The paper's task, penalty and weight, and its count without the penalty; or more seeds.",
        minimum_detectable_effect=f"{effect} ({n} seeds an arm, {percent(POWER)} power, alpha {ALPHA})",
        seeds_needed=runs_needed(fisher, 1.0, rate, ALPHA, POWER) if rate < 1 else None,
        evidence=tuple(sorted(run.run for arm, hubs in cells for run in found.cell(arm, hubs))),
        tables=(table(found), by_baseline(RESCUED)),
        figures=(recall_figure(found, cells, joined=True), rates_figure(found)),
        p=rescue.p,
    )


def judge(evidence: Evidence) -> Judgement:
    """Judge by the runs of M = 6; from the printed count alone where runs of the tier's design are missing."""
    found = sweep(evidence)
    if not all(found.complete(arm, HUBS, HUBS) for arm in (PLAIN, ORTHOGONAL)):
        return replace(judge_printed(RESCUED), missing=True)
    return judge_runs(found)


CLAIM = Claim(
    id="orthogonal-m6",
    statement="Orthogonal regularisation of the hubs rescues M = 6 to 5 of 5 converging seeds.",
    source=f"{SOURCE}; it does not print the count without regularisation",
    test=f"Fisher's and Boschloo's exact tests at alpha {ALPHA} of converged runs with M = {HUBS} of a supervised "
    "routing task, with the penalty against without. SUPPORTED if more converge with it by both; REFUTED if fewer by "
    f"both, or if not more where a rescue of all would be found with {percent(POWER)} power. From print alone: "
    f"{RESCUED} against every possible count without, decided only if all agree.",
    refuted_by="As many of the same seeds converging without regularisation as with it, in a test with 80 % power.",
    judge=judge,
    published={"M = 6 with orthogonal regularisation": f"{RESCUED} seeds converge"},
    needs=(NAME,),
)
