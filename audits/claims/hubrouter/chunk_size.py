"""Claim `chunk-size`: a claim of no effect, printed without numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations

from audits.claims.claim import Claim, ClaimVerdict, Judgement
from audits.claims.figures import Dots
from audits.claims.hubrouter._gate import void
from audits.claims.hubrouter._paper import HUB_GPT, JAMBA, PRINTED_ALONE, SOURCE
from audits.claims.hubrouter._trained import SEEDS as TRAINED_SEEDS
from audits.claims.hubrouter._trained import (
    Runs,
    column,
    compare,
    differences,
    models,
    perplexity,
    ratio_text,
    runs_of,
)
from audits.claims.hubrouter.attack_council_worth import named
from audits.evidence.ledger import Evidence
from audits.experiments.language_models.leak_dose import BY_CHUNK, CHUNKS, clean
from audits.formatting import Table, p_text, percent
from audits.statistics.crossed import PairedComparison, crossed, slope_weights
from audits.statistics.levels import ALPHA, POWER
from audits.statistics.power import margin_with_power, smallest_margin
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
    base = clean(found.tier)
    arms = {size: replace(base, chunk=size) for size in sorted({base.chunk, *CHUNKS[found.tier]})}
    if len(arms) < 2 or not found.complete(arms.values()):
        return replace(judge_printed(), missing=True)
    fixed = {size: found.of(arm) for size, arm in arms.items()}
    leaky = {
        dose: {size: found.of(replace(arm, routing=dose)) for size, arm in arms.items()}
        for dose in BY_CHUNK
        if found.complete([replace(arm, routing=dose) for arm in arms.values()])
    }
    return judge_runs(Sweep(fixed, leaky), found.scale)


@dataclass(frozen=True)
class Sweep:
    """Hub-GPT at every chunk size, after the council fix, and before it by the dose of the leak; paired by seed."""

    fixed: Mapping[int, Runs]
    leaky: Mapping[str, Mapping[int, Runs]]

    @property
    def effect(self) -> tuple[int, int, PairedComparison]:
        """The chunk sizes that differ most after the fix, the worse first, and their difference in nats."""
        means = {size: sum(model.nats for model in runs) / len(runs) for size, runs in self.fixed.items()}
        worst, best = max(means, key=means.__getitem__), min(means, key=means.__getitem__)
        return worst, best, compare(self.fixed[worst], self.fixed[best])

    @property
    def equivalence(self) -> float:
        """The p of the hardest of the tests that two chunk sizes are equivalent after the fix: all have to hold."""
        return max(
            crossed(differences([(1.0, a), (-1.0, b)])).within(MARGIN) for a, b in combinations(self.fixed.values(), 2)
        )

    @property
    def artefacts(self) -> Mapping[str, PairedComparison]:
        """Nats that each doubling of C adds to a dose's loss, less those that it adds without the leak."""
        weights = slope_weights([math.log2(size) for size in self.fixed])
        return {
            dose: crossed(
                differences(
                    [
                        (sign * weight, arms[size])
                        for weight, size in zip(weights, self.fixed, strict=True)
                        for sign, arms in ((1.0, runs), (-1.0, self.fixed))
                    ]
                )
            )
            for dose, runs in self.leaky.items()
        }

    @property
    def verdict(self) -> ClaimVerdict:
        """Both halves have to hold; an effect beyond the margin refutes, doses that disagree leave the claim open."""
        if self.effect[2].interval.low > MARGIN:
            return ClaimVerdict.REFUTED
        larger_helps = [test.significant and test.difference < 0 for test in self.artefacts.values()]
        proved = self.equivalence <= ALPHA and bool(larger_helps) and all(larger_helps)
        return ClaimVerdict.SUPPORTED if proved else ClaimVerdict.INCONCLUSIVE


def judge_runs(sweep: Sweep, scale: str) -> Judgement:
    """The judgement on trained models."""
    arms = [*sweep.fixed.values(), *(runs for by_size in sweep.leaky.values() for runs in by_size.values())]
    if problem := void(scale, list(sweep.fixed.values()), arms):
        return problem
    worst, best, effect = sweep.effect
    tost, artefacts = sweep.equivalence, sweep.artefacts
    helped = [named(dose) for dose, test in artefacts.items() if test.significant and test.difference < 0]
    return Judgement(
        sweep.verdict,
        f"After the fix C = {worst} costs {100 * math.expm1(effect.difference):.1f} % against {best}; larger C gains "
        f"from {len(helped)} of {len(artefacts)} doses.",
        "The paper's dose of the leak, which it does not describe: the sign of its effect of C hangs on it.",
        minimum_detectable_effect=f"a factor of {math.exp(effect.mde):.3f} between chunk sizes "
        f"({percent(POWER)} power, alpha {ALPHA}, {effect.n} paired seeds)",
        seeds_needed=effect.seeds_needed,
        evidence=runs_of(*arms),
        details=f"The hardest equivalence within {100 * MARGIN:.0f} % has p = {p_text(tost)}. A larger C gains from: "
        f"{', '.join(helped) or 'none'} ({scale}).",
        tables=(_run_table(sweep), _artefact_table(artefacts), margins()),
        figures=(_figure(sweep),),
        p=tost,
        ours=f"{ratio_text(effect)}, {effect.n} seeds",
    )


def _run_table(sweep: Sweep) -> Table:
    sizes = tuple(sweep.fixed)
    rows = [("after the fix", *(perplexity(runs) for runs in sweep.fixed.values()))]
    rows += [(named(d), *(perplexity(by_size[s]) for s in sizes)) for d, by_size in sweep.leaky.items()]
    return Table("Perplexity by chunk size", ("reading", *(f"C = {size}" for size in sizes)), tuple(rows))


def _artefact_table(artefacts: Mapping[str, PairedComparison]) -> Table:
    rows = tuple((named(d), str(t.n), ratio_text(t), p_text(t.p)) for d, t in artefacts.items())
    header = ("dose", "seeds", "factor of perplexity a doubling of C, beyond that without the leak", "p")
    return Table("What C does with the leak and not without", header, rows)


def _figure(sweep: Sweep) -> Dots:
    after = tuple(column(f"C = {size}", runs) for size, runs in sweep.fixed.items())
    return Dots("The chunk size after the council fix", "validation perplexity", after)


def judge_printed() -> Judgement:
    """From the printed numbers, of which there are none: only what could be proved is computed."""
    sd = borrowed_sd(Reading.SD)
    reach = ", ".join(f"±{smallest_margin(sd, n, ALPHA):.2f} at {n}" for n in SEEDS)
    return Judgement(
        ClaimVerdict.NOT_TESTABLE,
        'The abstract prints no number for any chunk size, and "little effect" has no margin.',
        "Perplexities by chunk size and seed, before and after the fix, and a margin named beforehand; the two "
        "halves of the claim are an equivalence test after the fix and a difference of gains between before and after.",
        details=f"With the seed SD printed elsewhere ({sd:.2f} PPL, borrowed) the smallest margins that can be proved "
        f"are "
        f"{reach} seeds an arm, in PPL. {PRINTED_ALONE}",
        tables=(margins(),),
    )


CLAIM = Claim(
    id="chunk-size",
    statement="After the council fix chunk size has little effect; the earlier benefit was an artefact.",
    source=SOURCE,
    test=f"After the fix: two one-sided tests within {MARGIN} nats between all sizes, over seeds and text, at alpha "
    f"{ALPHA}. Before it, for each dose of the leak: what a doubling of C brings beyond what it brings without. "
    f"SUPPORTED "
    f"if both hold, at every dose; REFUTED if the largest difference after the fix lies wholly beyond the margin; at "
    f"least {TRAINED_SEEDS} paired seeds, rates tuned. Without runs: NOT_TESTABLE.",
    refuted_by="A difference between chunk sizes wholly beyond the margin after the fix.",
    judge=judge,
    needs=("leak-dose",),
)
