"""Claim `retrofit`: a negative result without numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from audits.claims.claim import Claim, ClaimVerdict, Judgement
from audits.claims.figures import Dots
from audits.claims.hubrouter._paper import PRINTED_ALONE, SOURCE, from_print
from audits.claims.hubrouter._trained import (
    SEEDS,
    Runs,
    Trained,
    column,
    compare,
    detectable_text,
    diverged,
    perplexity,
    ratio_text,
    runs_of,
)
from audits.evidence.ledger import Evidence, Record
from audits.experiments.language_models import retrofit as experiment
from audits.experiments.language_models._arm import JUDGED
from audits.experiments.language_models.retrofit import ATTENTION, SCRATCH, WAYS
from audits.formatting import Table, percent
from audits.statistics.counts import Counts, rate_interval
from audits.statistics.crossed import PairedComparison

STARTS, CONTROLS = ("pretrained", "just swapped"), (ATTENTION, SCRATCH)
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
    last = {r.seed: r for r in evidence.records if r.experiment == experiment.NAME and r.config.get("stage") == JUDGED}
    if len(last) < SEEDS:
        return replace(judge_printed(), missing=True)
    arms = {way: tuple(_trained(last[seed], way) for seed in sorted(last)) for way in (*STARTS, *CONTROLS, *WAYS)}
    config = last[max(last)].config
    scale = f"{config['tier']} tier: {config['steps']} steps of pretraining, {config['tuning']} of tuning, rates tuned"
    return judge_runs(arms, scale)


def judge_runs(arms: Mapping[str, Runs], scale: str) -> Judgement:
    """The judgement on attempts: the best way against both controls."""
    runs = runs_of(*arms.values())
    if lost := diverged(*arms.values()):
        reason = f"{lost} trainings ended without a finite loss, so attempts cannot be paired."
        return Judgement(
            ClaimVerdict.INCONCLUSIVE, reason, "Runs that converge.", "none", None, runs, details=f"{scale}."
        )
    best = min(WAYS, key=lambda way: sum(model.nats for model in arms[way]))
    scratch, attention = compare(arms[best], arms[SCRATCH]), compare(arms[best], arms[ATTENTION])
    verdict = decide(scratch, attention)
    return Judgement(
        verdict,
        f"The best retrofit ({best}) has {ratio_text(scratch)} times the perplexity of HubRouter from scratch.",
        "A larger pretrained model, a longer budget, or another way of taking the weights over.",
        minimum_detectable_effect=detectable_text(scratch),
        seeds_needed=scratch.seeds_needed,
        evidence=runs,
        details=f"Against attention tuned as long the ratio is {ratio_text(attention)}. All have the same budget of "
        f"steps ({scale}). The way was chosen for its mean on the validation slice, which favours the retrofit. "
        f"{from_print(judge_printed())}",
        tables=(_table(arms), failures()),
        figures=(_figure(arms),),
        p=max(scratch.p, attention.p),
        ours=f"{ratio_text(attention)} of attention's, {attention.n} seeds",
    )


def decide(scratch: PairedComparison, attention: PairedComparison) -> ClaimVerdict:
    """The rule fixed beforehand, on the best retrofit minus a control in nats.

    It fails where it is worse than both controls, also than the one that has no pretrained weights; it succeeds where
    it is within the margin of attention tuned as long; between them the claim is open.
    """
    if scratch.interval.low > 0 and attention.interval.low > MARGIN:
        return ClaimVerdict.SUPPORTED
    return ClaimVerdict.REFUTED if attention.interval.high < MARGIN else ClaimVerdict.INCONCLUSIVE


def _trained(record: Record, way: str) -> Trained:
    found = record.result[way]
    blocks = None if found["block_nats"] is None else tuple(found["block_nats"])
    return Trained(record.seed, record.run, blocks, None, found["diverged"], "PASS")


def _table(arms: Mapping[str, Runs]) -> Table:
    rows = tuple(
        (way, perplexity(runs), ratio_text(compare(runs, arms[SCRATCH])), ratio_text(compare(runs, arms[ATTENTION])))
        for way, runs in arms.items()
        if way not in CONTROLS
    )
    controls = tuple((way, perplexity(arms[way]), "control", "control") for way in CONTROLS)
    header = ("way", "perplexity", f"/ {SCRATCH}", f"/ {ATTENTION}")
    return Table("Every way of retrofitting, geometric means over seeds", header, (*rows, *controls))


def _figure(arms: Mapping[str, Runs]) -> Dots:
    return Dots("Retrofit", "validation perplexity", tuple(column(way, runs) for way, runs in arms.items()))


def judge_printed() -> Judgement:
    """From the printed words: no number of attempts, no setting and no perplexity comes with them."""
    few, many = ATTEMPTS[0], ATTEMPTS[-2]
    return Judgement(
        ClaimVerdict.NOT_TESTABLE,
        "The abstract reports a negative case without model, schedule, number of attempts or perplexity.",
        "A named pretrained model, budget and success criterion, tried with several seeds and learning rates; a single "
        "retrofit that recovers the original perplexity within its budget would refute the general claim.",
        details=f"One failed attempt leaves success rates up to {percent(success_bound(few))} open; it takes {many} to "
        f"bring that to {percent(success_bound(many))}. {PRINTED_ALONE}",
        tables=(failures(),),
    )


CLAIM = Claim(
    id="retrofit",
    statement="Retrofitting HubRouter into a pretrained model fails (a tested negative case).",
    source=SOURCE,
    test=f"A pretrained Transformer whose attention becomes HubRouter at once, layer by layer, or distilled from it, "
    f"each "
    f"rate tuned, at least {SEEDS} seeds; controls of the same budget: attention tuned as long, HubRouter from "
    f"scratch. "
    f"SUPPORTED if the best way is worse than both, REFUTED if it lies within {MARGIN} nats of attention. Without "
    f"runs: "
    "NOT_TESTABLE.",
    refuted_by="A retrofit that reaches attention tuned as long.",
    judge=judge,
    needs=(experiment.NAME,),
)
