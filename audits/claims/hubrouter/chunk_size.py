"""Claim `chunk-size`: a claim of no effect, printed without numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from audits.claims.claim import Claim, ClaimVerdict, Judgement
from audits.claims.figures import Dots
from audits.claims.hubrouter._gate import void
from audits.claims.hubrouter._paper import HUB_GPT, JAMBA, PRINTED_ALONE, SOURCE
from audits.claims.hubrouter._trained import SEEDS as TRAINED_SEEDS
from audits.claims.hubrouter._trained import (
    Trained,
    column,
    compare,
    losses,
    models,
    perplexity,
    ratio_text,
    runs_of,
    tier_arms,
)
from audits.evidence.ledger import Evidence
from audits.experiments.language_models import chunk_size
from audits.formatting import Table, p_text, percent
from audits.statistics.comparison import PairedComparison
from audits.statistics.contrast import contrast, slope_weights
from audits.statistics.equivalence import (
    Equivalence,
    equivalence_paired,
    margin_with_power,
    smallest_margin,
    smallest_margin_paired,
)
from audits.statistics.levels import ALPHA, POWER
from audits.statistics.summary import Reading, pooled_sd

SEEDS = (3, 5, 10)
MARGIN = 0.02  # nats, about 2 % of perplexity: "little effect" (our choice, fixed before any run)


def borrowed_sd(reading: Reading) -> float:
    """The SD (PPL) pooled over Hub-GPT and Jamba, the only seed noise the abstract prints."""
    return pooled_sd(HUB_GPT.read_as(reading), JAMBA.read_as(reading))


def margins() -> Table:
    """The equivalence margins within reach, by seeds an arm and reading of "±"."""
    rows = tuple(_row(reading, n) for reading in Reading for n in SEEDS)
    return Table(
        "Margins within which two chunk sizes could be shown equal (TOST, SD BORROWED from Hub-GPT and Jamba)",
        ("± read as", "SD, PPL", "seeds an arm", "at best, PPL", f"with {percent(POWER)} power, PPL"),
        rows,
    )


def _row(reading: Reading, n: int) -> tuple[str, ...]:
    sd = borrowed_sd(reading)
    best, likely = smallest_margin(sd, n, ALPHA), margin_with_power(sd, n, ALPHA, POWER)
    return (reading.value, f"{sd:.2f}", str(n), f"±{best:.2f}", f"±{likely:.2f}")


def judge(evidence: Evidence) -> Judgement:
    """Judge by the runs; where there are too few, say what the printed numbers would allow to prove."""
    found = models(evidence)
    arms = tier_arms(found, chunk_size.arms)
    if not arms or not found.complete(arms):
        return replace(judge_printed(), missing=True)
    trained = found.paired(arms)
    chunks = chunk_size.CHUNKS[found.tier]
    return judge_runs(Sweep(chunks, trained[::2], trained[1::2]), found.scale)


@dataclass(frozen=True)
class Sweep:
    """Hub-GPT at every chunk size [chunks][seeds], after the council fix and before it, paired by seed."""

    chunks: tuple[int, ...]
    fixed: Sequence[Sequence[Trained]]
    leaky: Sequence[Sequence[Trained]]

    @property
    def widest(self) -> tuple[int, int]:
        """The two chunk sizes whose strictly causal losses differ most in the mean."""
        means = [sum(losses(arm)) for arm in self.fixed]
        return means.index(min(means)), means.index(max(means))

    @property
    def effect(self) -> PairedComparison:
        """The largest difference between chunk sizes after the fix, worst minus best, nats."""
        best, worst = self.widest
        return compare(self.fixed[worst], self.fixed[best])

    @property
    def equivalence(self) -> Equivalence:
        """The hardest of the tests that two chunk sizes are equivalent after the fix: all have to hold."""
        pairs = [(a, b) for at, a in enumerate(self.fixed) for b in self.fixed[at + 1 :]]
        tests = [equivalence_paired(losses(a), losses(b), MARGIN) for a, b in pairs]
        return max(tests, key=lambda test: test.p)

    @property
    def artefact(self) -> PairedComparison:
        """Nats gained by each doubling of C with the leak, less those gained without it; negative is the leak's."""
        weights = slope_weights([math.log2(c) for c in self.chunks])
        arms = [losses(arm) for arm in (*self.leaky, *self.fixed)]
        return contrast(arms, (*weights, *(-w for w in weights)), ALPHA)

    @property
    def verdict(self) -> ClaimVerdict:
        """Both halves have to hold; either can be refuted."""
        effect, artefact = self.effect, self.artefact
        if effect.interval.low > MARGIN or (artefact.significant and artefact.difference > 0):
            return ClaimVerdict.REFUTED
        proved = self.equivalence.p <= ALPHA and artefact.significant
        return ClaimVerdict.SUPPORTED if proved else ClaimVerdict.INCONCLUSIVE


def judge_runs(sweep: Sweep, scale: str) -> Judgement:
    """The judgement on trained models."""
    arms = [*sweep.fixed, *sweep.leaky]
    if problem := void(scale, sweep.fixed, arms):
        return problem
    effect, artefact, tost = sweep.effect, sweep.artefact, sweep.equivalence
    best, worst = (sweep.chunks[at] for at in sweep.widest)
    return Judgement(
        sweep.verdict,
        f"After the fix the largest difference is that of C = {worst} against {best}: {ratio_text(effect)} times the "
        f"perplexity; the hardest equivalence within {100 * MARGIN:.0f} % has p = {p_text(tost.p)}. Each doubling of C "
        f"changes perplexity with the leak by a factor of {ratio_text(artefact)} beyond what it does without "
        f"(p = {p_text(artefact.p)}, {artefact.n} paired seeds, {scale}).",
        f"For equivalence {effect.n} seeds prove at best a margin of {smallest_margin_paired(effect.sd, effect.n):.3f} "
        f"nats; for the artefact {artefact.seeds_needed or 'more'} seeds.",
        minimum_detectable_effect=f"a factor of {math.exp(artefact.mde):.3f} for each doubling of C "
        f"({percent(POWER)} power, alpha {ALPHA}, {artefact.n} paired seeds)",
        seeds_needed=artefact.seeds_needed,
        evidence=runs_of(*arms),
        tables=(_run_table(sweep), margins()),
        figures=_figures(sweep),
        p=max(tost.p, artefact.p),
    )


def _run_table(sweep: Sweep) -> Table:
    rows = (
        (str(c), perplexity(fixed), perplexity(leaky), ratio_text(compare(leaky, fixed)))
        for c, fixed, leaky in zip(sweep.chunks, sweep.fixed, sweep.leaky, strict=True)
    )
    return Table("Perplexity by chunk size", ("C", "after the fix", "before it", "before / after"), tuple(rows))


def _figures(sweep: Sweep) -> tuple[Dots, ...]:
    after = tuple(column(f"C = {c}", arm) for c, arm in zip(sweep.chunks, sweep.fixed, strict=True))
    before = tuple(column(f"C = {c}, leak", arm) for c, arm in zip(sweep.chunks, sweep.leaky, strict=True))
    label = "validation perplexity"
    return (
        Dots("The chunk size after the council fix", label, after),
        Dots("The chunk size before the council fix", label, before, log=True),
    )


def judge_printed() -> Judgement:
    """From the printed numbers, of which there are none: only what could be proved is computed."""
    sd = borrowed_sd(Reading.SD)
    reach = ", ".join(f"±{smallest_margin(sd, n, ALPHA):.2f} at {n}" for n in SEEDS)
    return Judgement(
        ClaimVerdict.NOT_TESTABLE,
        f'The abstract prints no numbers for any chunk size, and "little effect" has no margin. With the seed SD '
        f"printed elsewhere ({sd:.2f} PPL, borrowed) the smallest margins that can be proved are {reach} seeds an arm, "
        f"in PPL. {PRINTED_ALONE}",
        "Perplexities by chunk size and seed, before and after the fix, and a margin named beforehand; the two "
        "halves of the claim are an equivalence test after the fix and a difference of gains between before and after.",
        tables=(margins(),),
    )


CLAIM = Claim(
    id="chunk-size",
    statement="After the council fix the chunk size C has little effect; the benefit seen before it was an artefact of "
    "the bidirectional-council leak.",
    source=SOURCE,
    test=f"After the fix: paired two one-sided tests (TOST) at alpha {ALPHA} within {MARGIN} nats between all sizes. "
    f"Before: the gain for each doubling of C of the leaky model less that of the fixed one, paired by seed, at alpha "
    f"{ALPHA}. SUPPORTED only if both hold, at least {TRAINED_SEEDS} paired seeds. Without runs: NOT_TESTABLE.",
    refuted_by="A difference between chunk sizes beyond the margin after the fix, or equal gains before and after it.",
    judge=judge,
    needs=("chunk-size",),
)
