"""Claim `orthogonal-m6`: five of five seeds rescued; the count they were rescued from is not printed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import mean, stdev

from scipy import stats

from audits.claims.claim import Claim, ClaimVerdict, Judgement, Scope
from audits.claims.hubrouter._hub_sweep import ORTHOGONAL, PLAIN, Sweep, arms_figures, scale, surface_tables, sweep
from audits.claims.hubrouter._hub_trend import FIRST, LAST_RELIABLE
from audits.claims.hubrouter._paper import PRINTED_ALONE, SOURCE
from audits.evidence.ledger import Evidence
from audits.experiments.routing.hub_count import GRID, NAME
from audits.formatting import Table, p_text, percent
from audits.statistics.counts import Counts, boschloo, detectable_rate, fisher, runs_needed
from audits.statistics.levels import ALPHA, POWER
from audits.statistics.permutation import sign_flip, two_sample

BAND = tuple(m for m in GRID if FIRST <= m <= LAST_RELIABLE)
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
        "The abstract does not print the count without regularisation, which decides alone.",
        f"The unregularised count, or {seeds} seeds an arm (enough to distinguish 1.0 from {PLANNED_BASELINE}).",
        minimum_detectable_effect=f"{effect} ({n} seeds an arm, {percent(POWER)} power, alpha {ALPHA})",
        seeds_needed=seeds,
        tables=(by_baseline(rescued),),
        details=f"{rescued} is significant by both exact tests if {known}, and Fisher's p runs from {p_text(best)} "
        f"(0 of {n}) to {p_text(worst)} ({n - 1} of {n}). {PRINTED_ALONE}",
    )


@dataclass(frozen=True)
class Rescue:
    """By seed, the share of rates and budgets at which M = 6 has converged with and without the penalty, and the band.

    What the penalty gains is paired: both arms of a seed have the same weights and batches. What is missing to the band
    M = 8 to 14 without the penalty, whose seeds are fewer, is not. Both p are exact, or of sampled rearrangements.
    """

    gains: tuple[float, ...]
    treated: tuple[float, ...]
    band: tuple[float, ...]

    @cached_property
    def gain(self) -> float:
        """Positive where the penalty helps."""
        return mean(self.gains)

    @cached_property
    def missing(self) -> float:
        """Positive where M = 6 with the penalty stays behind the band."""
        return mean(self.band) - mean(self.treated)

    @cached_property
    def gain_p(self) -> float:
        """Of no gain."""
        return sign_flip(self.gains).p

    @cached_property
    def missing_p(self) -> float:
        """Of nothing missing."""
        return two_sample(self.band, self.treated).p

    @property
    def error(self) -> float:
        """The standard error of the gain."""
        return stdev(self.gains) / math.sqrt(len(self.gains))

    @property
    def detectable(self) -> float:
        """The gain that would be found with the planned power, by the normal approximation."""
        return float(stats.norm.isf(ALPHA / 2) + stats.norm.ppf(POWER)) * self.error


def find(found: Sweep) -> Rescue:
    """Both arms of M = 6, and the band."""
    plain, treated = found.shares(PLAIN, HUBS), found.shares(ORTHOGONAL, HUBS)
    band = [found.shares(PLAIN, m) for m in found.hubs(PLAIN) if FIRST <= m <= LAST_RELIABLE]
    return Rescue(
        tuple(share - plain[seed] for seed, share in treated.items()),
        tuple(treated.values()),
        tuple(mean(cell[seed] for cell in band) for seed in band[0]),
    )


def decide(rescue: Rescue) -> ClaimVerdict:
    """The rule fixed before the runs: only what is shown to be missing, or a loss, refutes."""
    short = rescue.missing > 0 and rescue.missing_p <= ALPHA
    if rescue.gain_p <= ALPHA:
        if rescue.gain < 0:
            return ClaimVerdict.REFUTED
        return ClaimVerdict.INCONCLUSIVE if short else ClaimVerdict.SUPPORTED
    return ClaimVerdict.REFUTED if short else ClaimVerdict.INCONCLUSIVE


REASONS = {
    ClaimVerdict.SUPPORTED: "On our own task the penalty makes M = 6 converge more often; no gap to 8 to 14 is shown.",
    ClaimVerdict.REFUTED: "On our own task M = 6 with the penalty stays behind M = 8 to 14, and no gain is shown.",
    ClaimVerdict.INCONCLUSIVE: "On our own task neither a rescue of M = 6 by the penalty nor its absence is shown.",
}
HARMED = "On our own task M = 6 converges at fewer rates and budgets with the penalty than without it."


def judge_runs(found: Sweep) -> Judgement:
    """The judgement from the runs of M = 6 and of the band; the table of the printed count is kept."""
    rescue = find(found)
    verdict, n = decide(rescue), len(rescue.gains)
    undecided = verdict is ClaimVerdict.INCONCLUSIVE
    wanted = mean(rescue.band) - (mean(rescue.treated) - rescue.gain)
    return Judgement(
        verdict,
        HARMED if verdict is ClaimVerdict.REFUTED and rescue.gain_p <= ALPHA else REASONS[verdict],
        "The paper's task, penalty and weight, and its count without the penalty; or more seeds.",
        minimum_detectable_effect=f"a gain of {rescue.detectable:.2f} of the learning rates and budgets ({n} seeds, "
        f"{percent(POWER)} power, alpha {ALPHA})"
        if undecided
        else None,
        seeds_needed=math.ceil(n * (rescue.detectable / wanted) ** 2) if undecided and wanted > 0 else None,
        evidence=tuple(sorted((*found.runs(ORTHOGONAL, HUBS), *found.runs(PLAIN, HUBS, *BAND)))),
        tables=(*(t for arm in (PLAIN, ORTHOGONAL) for t in surface_tables(found, arm, [HUBS])), by_baseline(RESCUED)),
        details=f"{scale(found)} With M = {HUBS}, the penalty (weight {found.setting['penalty']:g}, ours) changes the "
        f"share of rates and budgets at which a run has converged by {rescue.gain:+.3f} (SE {rescue.error:.3f}, {n} "
        f"pairs, sign flips p = {p_text(rescue.gain_p)}), to {mean(rescue.treated):.3f}; M = {FIRST} to "
        f"{LAST_RELIABLE} without it has {mean(rescue.band):.3f}, {rescue.missing:+.3f} more (permutation p = "
        f"{p_text(rescue.missing_p)}).",
        ours=f"{rescue.gain:+.3f} of rates and budgets, {n} seeds",
        scope=Scope.OURS,
        figures=arms_figures(found, HUBS),
        p=rescue.gain_p,
    )


def judge(evidence: Evidence) -> Judgement:
    """Judge by the runs of M = 6; from the printed count alone where runs of the tier's design are missing."""
    found = sweep(evidence)
    if not (found.complete(ORTHOGONAL, HUBS) and found.complete(PLAIN, HUBS, *BAND)):
        return replace(judge_printed(RESCUED), missing=True)
    return judge_runs(found)


CLAIM = Claim(
    id="orthogonal-m6",
    statement="Orthogonal regularisation rescues M = 6 to 5 of 5 converging seeds.",
    source=f"{SOURCE}; it does not print the count without regularisation",
    test=f"Runs with M = {HUBS} of a supervised routing task of ours, with the penalty and without, paired by seed. "
    "Outcome of a run: the share of learning rates and step budgets at which it has converged. Sign flips of what the "
    f"penalty gains, and a permutation test of what is missing to M = {FIRST} to {LAST_RELIABLE} without it, both "
    f"two-sided at alpha {ALPHA}. SUPPORTED if it gains and nothing is shown to be missing; REFUTED if it loses, or if "
    f"something is missing and no gain is shown. From print alone: {RESCUED} against every possible count without, "
    "decided only if all agree.",
    refuted_by=f"M = {HUBS} with the penalty shown to stay behind M = {FIRST} to {LAST_RELIABLE}, without a gain.",
    judge=judge,
    published={"M = 6 with orthogonal regularisation": f"{RESCUED} seeds converge"},
    needs=(NAME,),
)
