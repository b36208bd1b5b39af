"""Claim `throughput-90x`: one training-throughput multiplier against an unspecified implementation."""

from __future__ import annotations

from dataclasses import replace

from audits.claims.claim import Claim, ClaimVerdict, Judgement, no_run_yet
from audits.claims.figures import CurvePoint, Series
from audits.claims.hubrouter._bench import with_layer_ratios
from audits.claims.hubrouter._paper import SOURCE
from audits.claims.hubrouter._throughput import (
    HIGH,
    LENGTH,
    LOW,
    MULTIPLIER,
    Measured,
    Multiplier,
    figures,
    measured,
    tables,
)
from audits.evidence.ledger import Evidence
from audits.experiments.bench.throughput import NAME
from audits.formatting import Table

PUBLISHED = Series("published, baseline unknown", "other", (CurvePoint(float(LENGTH), MULTIPLIER),))


def share_removed(multiplier: float) -> float:
    """The least share of the baseline's step time that must vanish for a whole-model multiplier (Amdahl's law).

    Raises:
        ValueError: a multiplier below 1, which is no speed-up.
    """
    if multiplier < 1:
        raise ValueError(f"a speed-up is at least 1, got {multiplier}")
    return 1 - 1 / multiplier


def amdahl() -> Table:
    """What each printed multiplier demands of the baseline, by arithmetic alone."""
    rows = ((f"{m:.0f}x", f"{100 * share_removed(m):.1f} %", f"{MULTIPLIER / m:.0f}x") for m in (LOW, HIGH, MULTIPLIER))
    return Table(
        "What a whole-model multiplier demands (arithmetic on the printed numbers, no measurement)",
        ("multiplier", "share of the baseline's step that must vanish", "part of 90x owed to the baseline's code"),
        tuple(rows),
    )


def judge(evidence: Evidence) -> Judgement:
    """Whether any whole-model comparison at n = 1024 reaches the multiplier, whatever the baseline's tier."""
    return with_layer_ratios(_judged(evidence), evidence)


def _judged(evidence: Evidence) -> Judgement:
    found = measured(evidence)
    if found is None or not found.at(LENGTH):
        return replace(no_run_yet(f"whole models at n = {LENGTH}"), tables=(amdahl(),))
    if found.void is not None:
        return _judgement(found, ClaimVerdict.INCONCLUSIVE, found.void, "Tiers that agree.", "not computable: void")
    asked = found.at(LENGTH)
    reached = [m for m in asked if m.interval is not None and m.interval.high >= MULTIPLIER]
    if any(not m.wide for m in reached):
        return _supported(found, [m for m in reached if not m.wide])
    open_ = reached or [m for m in asked if m.ratio is None and _could_be_run(m)]
    if open_:
        named = "; ".join(f"{m.named}, {m}" for m in open_)
        reason = f"At n = {LENGTH} these would decide and cannot: {named}. {_where(found)}"
        change = "More rounds on a machine with nothing else to do, or a longer limit for a step."
        return _judgement(found, ClaimVerdict.INCONCLUSIVE, reason, change, _detectable(open_))
    return _refuted(found, asked)


def _supported(found: Measured, reached: list[Multiplier]) -> Judgement:
    named = "; ".join(f"{m.named}: {m}" for m in reached)
    reason = (
        f"At n = {LENGTH} the {MULTIPLIER:.0f}x is reached against these baselines ONLY: {named}. {_answer(found)} "
        f"{_where(found)}"
    )
    return _judgement(found, ClaimVerdict.SUPPORTED, reason, "The baseline's code: it decides the number.")


def _refuted(found: Measured, asked: tuple[Multiplier, ...]) -> Judgement:
    most = max((m for m in asked if m.ratio is not None), key=lambda m: m.ratio or 0.0, default=None)
    if most is None:
        return replace(no_run_yet(f"whole models at n = {LENGTH}"), tables=(amdahl(),))
    reason = (
        f"No baseline tier at n = {LENGTH} against which a whole model trains {MULTIPLIER:.0f} times faster; the most "
        f"is {most.named}, {most}. {_answer(found)} {_where(found)}"
    )
    change = "Another machine, where starting a kernel costs more, or the published baseline's code."
    return _judgement(found, ClaimVerdict.REFUTED, reason, change)


def _answer(found: Measured) -> str:
    """One multiplier for each tier, with the model's own Mamba layers in that tier."""
    same = [m for m in found.at(LENGTH) if m.model == f"Hub-Jamba ({m.tier})" and m.ratio is not None]
    return "With the same Mamba layers on both sides: " + ", ".join(f"{m.tier} {m.ratio:.2f}x" for m in same) + "."


def _where(found: Measured) -> str:
    return f"MEASURED ON ONE MACHINE AT SMALL SCALE: {found.machine}; it does not carry over to others."


def _could_be_run(multiplier: Multiplier) -> bool:
    """Whether it was left out for its time, and not because this machine does not have the tier."""
    return "predicted" in (multiplier.why or "")


def _detectable(open_: list[Multiplier]) -> str:
    spans = [m.interval.high / m.interval.low for m in open_ if m.interval is not None]
    return f"a factor of {max(spans):.2g}, the width of the widest interval" if spans else "not computable: not run"


def _judgement(
    found: Measured, verdict: ClaimVerdict, reason: str, change: str, detectable: str | None = None
) -> Judgement:
    shown = (*tables(found), amdahl())
    return Judgement(verdict, reason, change, detectable, None, found.runs, shown, figures=figures(found, (PUBLISHED,)))


CLAIM = Claim(
    id="throughput-90x",
    statement=f"Hub-Jamba trains with up to about {MULTIPLIER:.0f} times the throughput at n = {LENGTH} of matched "
    "PyTorch-native baselines.",
    source=SOURCE,
    test="Forward and backward of whole models, timed in turns on one machine, against each baseline tier: is there "
    f"a comparison at n = {LENGTH} whose 95 % interval reaches {MULTIPLIER:.0f}? Read in favour of the claim: Hub-GPT "
    "counts as well as Hub-Jamba, and Hub-Jamba may have the fastest Mamba layers where Jamba has slow ones. SUPPORTED "
    "for the named tiers only.",
    refuted_by=f"No baseline tier against which a whole model trains {MULTIPLIER:.0f} times faster at n = {LENGTH}.",
    judge=judge,
    published={"training throughput multiplier": f"up to ~{MULTIPLIER:.0f}x", "sequence length": str(LENGTH)},
    needs=(NAME,),
)
