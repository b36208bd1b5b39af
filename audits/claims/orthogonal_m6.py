"""Claim `orthogonal-m6`: five of five seeds rescued, from a number that is not printed."""

from __future__ import annotations

from audits.claim import Claim, ClaimVerdict, Judgement, Table
from audits.claims._paper import ALPHA, POWER, PRINTED_ALONE, SOURCE, p_text, percent
from audits.ledger import Evidence
from audits.statistics import Counts, boschloo, detectable_rate, fisher, runs_needed

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
        f"The unregularised count, or {seeds} seeds an arm (enough to tell 1.0 from {PLANNED_BASELINE}).",
        minimum_detectable_effect=f"{effect} ({n} seeds an arm, {percent(POWER)} power, alpha {ALPHA})",
        seeds_needed=seeds,
        tables=(by_baseline(rescued),),
    )


def judge(_evidence: Evidence) -> Judgement:
    """Judge from the printed count."""
    return judge_printed(RESCUED)


CLAIM = Claim(
    id="orthogonal-m6",
    statement="Orthogonal regularisation of the hubs rescues M = 6 to 5 of 5 converging seeds.",
    source=f"{SOURCE}; it does not print the count without regularisation",
    test=f"Fisher's and Boschloo's exact tests at alpha {ALPHA} of {RESCUED} against the count without regularisation; "
    "as it is not printed, against every possible count: decided only if all agree.",
    refuted_by="As many of the same seeds converging without regularisation as with it, in a test with 80 % power.",
    judge=judge,
    published={"M = 6 with orthogonal regularisation": f"{RESCUED} seeds converge"},
)
