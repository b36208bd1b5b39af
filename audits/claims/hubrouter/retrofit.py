"""Claim `retrofit`: a negative result without numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from audits.claims.claim import Claim, ClaimVerdict, Judgement
from audits.claims.figures import DotColumn, Dots
from audits.claims.hubrouter._paper import PRINTED_ALONE, SOURCE, from_print
from audits.claims.hubrouter._trained import SEEDS, detectable_text, ratio_text
from audits.evidence.ledger import Evidence, Record
from audits.experiments.language_models import retrofit as experiment
from audits.experiments.language_models.retrofit import TUNING_SHARE
from audits.formatting import Table, percent
from audits.statistics.comparison import PairedComparison, compare_paired
from audits.statistics.counts import Counts, rate_interval

ATTEMPTS = (1, 3, 5, 10, 29, 59)
MARGIN = 0.01  # nats, about 1 % of perplexity: within it the retrofit has recovered (our choice, before any run)
ONE_SIDED_95 = 0.9  # a two-sided 90 % interval has a one-sided 95 % upper bound


def success_bound(failures: int) -> float:
    """The one-sided 95 % upper bound of the success rate after `failures` attempts that all failed."""
    return rate_interval(Counts(0, failures), ONE_SIDED_95).high


def failures() -> Table:
    """How much a number of failed attempts can say about a method."""
    rows = tuple((str(n), percent(success_bound(n))) for n in ATTEMPTS)
    header = ("independent attempts, all failed", "success rate not excluded, up to")
    return Table("What failed attempts exclude (one-sided 95 %)", header, rows)


def judge(evidence: Evidence) -> Judgement:
    """Judge by the runs; from the printed words alone where there are too few."""
    found = evidence.latest_varying(experiment.NAME, ())
    if len(found) < SEEDS:
        return replace(judge_printed(), missing=True)
    return judge_runs(tuple(_attempt(record) for record in sorted(found, key=lambda record: record.seed)))


@dataclass(frozen=True)
class Tuned:
    """One way of tuning: nats per token after it, None where not finite."""

    arm: str
    rate: float
    nats: float | None
    diverged: bool


@dataclass(frozen=True)
class Attempt:
    """One pretrained model: its loss, its loss just after the swap, and all ways of tuning, in nats per token."""

    seed: int
    run: str
    pretrained: float | None
    swapped: float | None
    tuned: tuple[Tuned, ...]

    def best(self, arm: str) -> float:
        """The lowest loss that an arm was tuned to; infinite where all its runs diverged."""
        return min(
            (t.nats for t in self.tuned if t.arm == arm and t.nats is not None and not t.diverged), default=math.inf
        )


def judge_runs(attempts: tuple[Attempt, ...]) -> Judgement:
    """The judgement on attempts whose every arm was tuned at its better rate, which favours the retrofit."""
    runs = tuple(attempt.run for attempt in attempts)
    pretrained = [math.inf if a.pretrained is None else a.pretrained for a in attempts]
    retrofitted, control = [a.best("retrofit") for a in attempts], [a.best("control") for a in attempts]
    lost = sum(not math.isfinite(value) for value in (*pretrained, *retrofitted, *control))
    if lost:
        reason = f"{lost} trainings ended without a finite loss at every rate, so attempts cannot be paired."
        return Judgement(ClaimVerdict.INCONCLUSIVE, reason, "Runs that converge.", "none", None, runs)
    back, against = compare_paired(retrofitted, pretrained), compare_paired(retrofitted, control)
    return Judgement(
        decide(back),
        f"After the swap and a tuning of {100 * TUNING_SHARE:.0f} % of the pretraining budget, the retrofit has "
        f"{ratio_text(back)} times the perplexity of the pretrained model and {ratio_text(against)} times that of a "
        f"control tuned as long ({back.n} seeds, small scale). {from_print(judge_printed().reason)}",
        "A larger pretrained model, a longer budget, or another way of taking the weights over.",
        minimum_detectable_effect=detectable_text(back),
        seeds_needed=back.seeds_needed,
        evidence=runs,
        tables=(_table(attempts), failures()),
        figures=(_figure(attempts),),
        p=back.p,
    )


def decide(back: PairedComparison) -> ClaimVerdict:
    """The rule fixed beforehand, on retrofit minus pretrained in nats."""
    if back.interval.low > MARGIN:
        return ClaimVerdict.SUPPORTED
    return ClaimVerdict.REFUTED if back.interval.high < MARGIN else ClaimVerdict.INCONCLUSIVE


def _attempt(record: Record) -> Attempt:
    result = record.result
    tuned = tuple(Tuned(t["arm"], t["rate"], t["valid_nats"], t["diverged"]) for t in result["tuned"])
    return Attempt(record.seed, record.run, result["pretrained"]["valid_nats"], result["swapped_nats"], tuned)


def _table(attempts: tuple[Attempt, ...]) -> Table:
    ways = [(t.arm, t.rate) for t in attempts[0].tuned]
    rows = (
        (str(a.seed), *(_shown(v) for v in (a.pretrained, a.swapped, *(t.nats for t in a.tuned)))) for a in attempts
    )
    tuned = (f"{arm}, {rate:g} of the rate" for arm, rate in ways)
    return Table("Validation perplexity of every attempt", ("seed", "pretrained", "just swapped", *tuned), tuple(rows))


def _shown(nats: float | None) -> str:
    return "not finite" if nats is None else f"{math.exp(nats):.1f}"


def _figure(attempts: tuple[Attempt, ...]) -> Dots:
    def points(label: str, style: str, values: list[float]) -> DotColumn:
        return DotColumn(label, style, tuple((a.seed, math.exp(v)) for a, v in zip(attempts, values, strict=True)))

    return Dots(
        "Retrofit",
        "validation perplexity",
        (
            points("pretrained", "control", [a.pretrained or math.nan for a in attempts]),
            points("tuned on with attention", "control", [a.best("control") for a in attempts]),
            points("retrofitted, tuned as long", "causal", [a.best("retrofit") for a in attempts]),
        ),
    )


def judge_printed() -> Judgement:
    """From the printed words: no number of attempts, no setting and no perplexity comes with them."""
    few, many = ATTEMPTS[0], ATTEMPTS[-2]
    return Judgement(
        ClaimVerdict.NOT_TESTABLE,
        "The abstract reports a negative case without the model, the schedule, the number of attempts or a perplexity. "
        f"One failed attempt leaves success rates up to {percent(success_bound(few))} open; it takes {many} to bring "
        f"that to {percent(success_bound(many))}. {PRINTED_ALONE}",
        "A named pretrained model, budget and success criterion, tried with several seeds and learning rates; a single "
        "retrofit that recovers the original perplexity within its budget would refute the general claim.",
        tables=(failures(),),
    )


CLAIM = Claim(
    id="retrofit",
    statement="Retrofitting HubRouter into a pretrained model fails (a tested negative case).",
    source=SOURCE,
    test=f"A pretrained Transformer whose attention is replaced by HubRouter and tuned within a budget fixed "
    f"beforehand, at least {SEEDS} seeds, the better of two learning rates: SUPPORTED if the 95 % interval of its loss "
    f"less the pretrained model's lies above {MARGIN} nats, REFUTED if below. Without runs: NOT_TESTABLE.",
    refuted_by="One retrofit that recovers the pretrained model's perplexity within its budget.",
    judge=judge,
    needs=(experiment.NAME,),
)
