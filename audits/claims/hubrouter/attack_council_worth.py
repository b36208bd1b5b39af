"""Our attack on the pre-fix Hub-GPT: what does each dose of its leak buy, and does it survive the clean mask?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from audits.claims.claim import Claim, ClaimVerdict, Judgement, Kind, no_run_yet
from audits.claims.figures import CurvePoint, Curves, Dots, Reference, Series
from audits.claims.hubrouter._gate import void
from audits.claims.hubrouter._trained import (
    SEEDS,
    Models,
    Runs,
    Trained,
    column,
    compare,
    detectable_text,
    leaks,
    models,
    perplexity,
    ratio_text,
    runs_of,
)
from audits.evidence.ledger import Evidence
from audits.experiments.language_models._doses import COUNCIL, SUMMARY
from audits.experiments.language_models.leak_dose import CHUNKS, CONTROLS, DOSES, clean
from audits.formatting import Table, count, p_text
from audits.statistics.crossed import PairedComparison
from audits.statistics.levels import ALPHA
from audits.statistics.multiplicity import holm

PRINTED = 0.042  # of perplexity: the gain that Hub-Jamba was published with
NAMES = {
    "bidirectional": "top k of the whole sequence",
    COUNCIL: "dense: the whole chunk",
    SUMMARY: "hub summary with the own chunk",
    "selection": "top 4 of the chunk, causal mask",
    **{f"later top {count}": f"clean mask and the chunk's top {count}" for count in (1, 2, 4, 8)},
}


def named(dose: str) -> str:
    """A dose in the words of the reports."""
    return NAMES.get(dose, dose)


@dataclass(frozen=True)
class Dose:
    """One dose: against its matched causal arm under its own mask, and against the clean arm under the clean one."""

    name: str
    runs: Runs
    gain: PairedComparison  # nats, negative is better
    masked: PairedComparison  # the same weights under the clean mask less clean training
    readable: float | None
    nats: float  # of clean training

    @property
    def predicted(self) -> float | None:
        """The most that reading the next token directly can bring, in nats: the share that can, times the loss."""
        return None if self.readable is None or self.name == SUMMARY else self.readable * self.nats

    @property
    def fits(self) -> bool:
        """Whether the interval of its gain holds the published one."""
        test = self.gain.interval
        return test.low <= math.log1p(-PRINTED) <= test.high


def doses(found: Models, chunk: int | None = None) -> tuple[Dose, ...]:
    """The doses at a chunk size (the tier's where None) that were trained with enough seeds."""
    base = clean(found.tier) if chunk is None else replace(clean(found.tier), chunk=chunk)
    known = []
    for name in DOSES:
        arm, control = replace(base, routing=name), replace(base, routing=CONTROLS.get(name, base.routing))
        if found.complete((arm, control, base)):
            known.append(_dose(name, found.of(arm), found.of(control), found.of(base)))
    return tuple(known)


def _dose(name: str, leaky: Runs, control: Runs, base: Runs) -> Dose:
    share = [model.result.get("readable") for model in leaky]
    known = [float(value) for value in share if value is not None]
    nats = sum(model.nats for model in base) / len(base)
    masked = compare(leaky, base, masked=True)
    return Dose(name, leaky, compare(leaky, control), masked, sum(known) / len(known) if known else None, nats)


def judge(evidence: Evidence) -> Judgement:
    """Every dose whose gain is significant has to lose it under the clean mask."""
    found = models(evidence)
    arm = clean(found.tier)
    if not found.complete((arm, replace(arm, routing=COUNCIL))):
        return no_run_yet(f"{SEEDS} paired seeds of the clean and the leaky arm")
    base = found.of(arm)
    if problem := void(found.scale, [base], [base, *(found.of(replace(arm, routing=dose)) for dose in DOSES)]):
        return problem
    known = doses(found)
    if not all(leaks(dose.runs) for dose in known):
        unseen = ", ".join(dose.name for dose in known if not leaks(dose.runs))
        reason = "The audit finds no leak in an arm that has one, so the comparison says nothing."
        runs = runs_of(*(dose.runs for dose in known))
        change = "An audit that sees it."
        return Judgement(ClaimVerdict.INCONCLUSIVE, reason, change, "none", None, runs, details=f"{unseen}.")
    return judge_doses(found, base, known)


def judge_doses(found: Models, base: Runs, known: tuple[Dose, ...]) -> Judgement:
    """The judgement on trained doses, of which one is the dense one."""
    family = holm([*(dose.gain.p for dose in known), *(dose.masked.p for dose in known)])
    rejected = [test.rejected for test in family]
    differs, exchanged = rejected[: len(known)], rejected[len(known) :]
    better = {dose.name for dose, no in zip(known, differs, strict=True) if no and dose.gain.difference < 0}
    lost = {dose.name for dose, no in zip(known, exchanged, strict=True) if no and dose.masked.difference > 0}
    kept = {dose.name for dose, no in zip(known, exchanged, strict=True) if no and dose.masked.difference < 0}
    verdict = ClaimVerdict.INCONCLUSIVE
    if better & kept:
        verdict = ClaimVerdict.REFUTED
    elif better and better <= lost:
        verdict = ClaimVerdict.SUPPORTED
    dense = next(dose for dose in known if dose.name == COUNCIL)
    fitting = [named(dose.name) for dose in known if dose.fits]
    return Judgement(
        verdict,
        f"Doses of the leak gain {_range(known, better)} of perplexity; masked, {_lost(better, lost, kept)}.",
        "A dose whose weights keep their gain under the clean mask.",
        ours=f"{_range(known, better)}, {len(dense.runs)} seeds",
        minimum_detectable_effect=detectable_text(dense.gain),
        seeds_needed=dense.gain.seeds_needed,
        evidence=runs_of(base, *(dose.runs for dose in known)),
        details=f"The dense dose has {ratio_text(dense.gain)} times the perplexity of clean training, its weights "
        f"under the clean mask {ratio_text(dense.masked)} times. The published {percent_of(PRINTED)} fits: "
        f"{', '.join(fitting) or 'none of them'}. A bidirectional Hub-Jamba is our inference: the abstract does not "
        f"call it so ({found.scale}).",
        tables=(_table(base, known),),
        figures=tuple(
            filter(None, (_dose_figure(known), _perplexities(base, known), *_by_chunk(found), _stages(base, known)))
        ),
        p=max(dense.gain.p, dense.masked.p),
    )


def percent_of(share: float) -> str:
    """A share with one decimal."""
    return f"{100 * share:.1f} %"


def _lost(better: set[str], lost: set[str], kept: set[str]) -> str:
    """What becomes of the gains under the clean mask."""
    if better and better <= lost:
        return "every such gain is lost"
    kept_too = f"{len(better & kept)}" if better & kept else "none"
    return f"{len(better & lost)} of {count(len(better), 'gain')} are lost, {kept_too} kept"


def _range(known: tuple[Dose, ...], better: set[str]) -> str:
    gains = sorted(-math.expm1(dose.gain.difference) for dose in known if dose.name in better)
    if not gains:
        return "nothing significant"
    return f"{100 * gains[0]:.1f} to {percent_of(gains[-1])}" if len(gains) > 1 else percent_of(gains[0])


def _table(base: Runs, known: tuple[Dose, ...]) -> Table:
    header = (
        "dose", "readable share f", "at most, nats (f NLL)", "gain, nats", "perplexity", "/ matched causal arm", "p",
        "same weights, clean mask / clean", "fits 4.2 %",
    )  # fmt: skip
    rows = tuple(
        (
            named(dose.name),
            "none" if dose.readable is None else f"{dose.readable:.3f}",
            "blurred" if dose.predicted is None else f"{dose.predicted:.2f}",
            f"{-dose.gain.difference:.3f}",
            perplexity(dose.runs),
            ratio_text(dose.gain),
            p_text(dose.gain.p),
            ratio_text(dose.masked),
            "yes" if dose.fits else "no",
        )
        for dose in known
    )
    return Table(f"What each dose buys (clean training: perplexity {perplexity(base)})", header, rows)


def _dose_figure(known: tuple[Dose, ...]) -> Curves | None:
    """Measured gain over the most that reading the next token directly can bring."""
    shown = sorted((d for d in known if d.predicted and d.name not in CONTROLS), key=lambda d: d.predicted or 0.0)
    if len(shown) < 2:
        return None
    points = tuple(
        CurvePoint(d.predicted or 0.0, -d.gain.difference, -d.gain.interval.high, -d.gain.interval.low, named(d.name))
        for d in shown
    )
    most = points[-1].x
    line = Series("all of it used", "control", (CurvePoint(0.0, 0.0), CurvePoint(most, most)))
    return Curves(
        "The dose curve of the leak",
        "f NLL: nats that reading the next token directly can bring",
        "measured gain, nats",
        (Series("doses", "leaky", points), line),
        "Each point is a dose, in the order of the table; bars are 95 % intervals over seeds and text.",
        references=(Reference("the published 4.2 %", -math.log1p(-PRINTED)),),
    )


def _perplexities(base: Runs, known: tuple[Dose, ...]) -> Dots:
    columns = [column("strictly causal", base), *(column(named(dose.name), dose.runs) for dose in known)]
    dense = next(dose for dose in known if dose.name == COUNCIL)
    columns.append(column("dense, the same weights, clean mask", dense.runs, masked=True))
    return Dots("Perplexity by dose", "validation perplexity", tuple(columns), log=True)


def _by_chunk(found: Models) -> tuple[Curves, ...]:
    """The gain of each dose over the chunk size."""
    sizes = sorted({clean(found.tier).chunk, *CHUNKS[found.tier]})
    by_size: Mapping[int, tuple[Dose, ...]] = {size: doses(found, size) for size in sizes}
    names = [d.name for d in by_size[sizes[-1]] if all(d.name in {o.name for o in by_size[s]} for s in sizes)]
    if len(sizes) < 2 or not names:
        return ()
    styles = ("leaky", "masked", "other", "control", "causal")
    series = tuple(
        Series(named(name), style, tuple(_at_size(size, by_size[size], name) for size in sizes))
        for name, style in zip(names, styles, strict=False)
    )
    return (Curves("The gain by chunk size", "chunk size C", "gain, nats", series, "Bars: 95 %.", log_x=True),)


def _at_size(size: int, known: tuple[Dose, ...], name: str) -> CurvePoint:
    gain = next(dose.gain for dose in known if dose.name == name)
    return CurvePoint(size, -gain.difference, -gain.interval.high, -gain.interval.low)


def _stages(base: Runs, known: tuple[Dose, ...]) -> Curves | None:
    """The gain over training, means over seeds, on a part of the validation slice."""
    shown = [dose for dose in known if dose.name in ("later top 1", "later top 4", SUMMARY, COUNCIL)]
    series = tuple(
        Series(named(dose.name), style, _gains(base, dose.runs))
        for dose, style in zip(shown, ("other", "control", "masked", "leaky"), strict=False)
    )
    if not all(s.points for s in series):
        return None
    return Curves("The gain over training", "steps", "gain, nats", series, "Means over seeds.", log_x=True)


def _gains(base: Runs, leaky: Runs) -> tuple[CurvePoint, ...]:
    by_seed = {model.seed: model for model in base}
    curves = [
        [
            (step, before - after)
            for (step, before), (_, after) in zip(_looked(by_seed[m.seed]), _looked(m), strict=True)
        ]
        for m in leaky
        if m.seed in by_seed
    ]
    return tuple(CurvePoint(p[0][0], sum(v for _, v in p) / len(p)) for p in zip(*curves, strict=True))


def _looked(model: Trained) -> list[tuple[float, float]]:
    """The losses on the way that are finite."""
    stages = model.result.get("stages", ())
    return [(float(step), float(nats)) for step, nats in stages if nats is not None]


CLAIM = Claim(
    id="attack-council-worth",
    statement="Whatever perplexity a bidirectional council gains, it loses under the clean mask.",
    source="our attack on the pre-fix Hub-GPT of arXiv:2604.22442, whose author calls the benefit an artefact",
    kind=Kind.ATTACK,
    test=f"Doses from one later token a chunk to the whole chunk, each rate tuned, at least {SEEDS} paired seeds, each "
    f"against its matched causal arm and, with its weights under the clean mask, against clean training; Holm over all "
    f"doses at alpha {ALPHA}. SUPPORTED if every dose that gains loses its gain under the clean mask.",
    refuted_by="A dose whose weights stay significantly better than clean ones under the clean mask.",
    judge=judge,
    needs=("leak-dose",),
)
