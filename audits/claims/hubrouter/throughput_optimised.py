"""Claim `throughput-optimised`: an estimate of what a better baseline would leave of the multiplier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from audits.claims.claim import Claim, ClaimVerdict, Judgement, no_run_yet
from audits.claims.hubrouter._bench import with_layer_ratios
from audits.claims.hubrouter._paper import SOURCE
from audits.claims.hubrouter._throughput import (
    HIGH,
    LENGTH,
    LOW,
    MULTIPLIER,
    Measured,
    Multiplier,
    measured,
    not_on_a_gpu,
    tables,
)
from audits.evidence.ledger import Evidence
from audits.experiments.bench.throughput import NAME
from audits.formatting import Table


def implied_baseline() -> Table:
    """How much faster the optimised baseline is assumed to be; the only thing the printed numbers determine."""
    rows = ((f"{m:.0f}x", f"{MULTIPLIER / m:.1f}x") for m in (LOW, HIGH))
    return Table(
        "What the estimate assumes (arithmetic on the printed numbers)",
        ("remaining multiplier", "optimised over PyTorch-native baseline"),
        tuple(rows),
    )


def judge(evidence: Evidence) -> Judgement:
    """Whether a whole-model multiplier against the optimised tier meets the estimate at n = 1024."""
    return with_layer_ratios(_judged(evidence), evidence)


def _judged(evidence: Evidence) -> Judgement:
    found = measured(evidence)
    asked = () if found is None else tuple(m for m in found.at(LENGTH) if m.optimised and m.interval is not None)
    if found is None or not asked:
        return replace(no_run_yet(f"the optimised baseline at n = {LENGTH}"), tables=(implied_baseline(),))
    if not found.on_gpu:
        return not_on_a_gpu(found, (*tables(found)[:1], implied_baseline()))
    if found.void is not None:
        return _judgement(found, ClaimVerdict.INCONCLUSIVE, found.void, asked, "not computable: void")
    meeting = [m for m in asked if m.interval is not None and m.interval.low <= HIGH and m.interval.high >= LOW]
    if any(not m.wide for m in meeting):
        reason = f"Against the fastest tier of Jamba a whole model trains {LOW:.0f} to {HIGH:.0f} times faster."
        return _judgement(found, ClaimVerdict.SUPPORTED, reason, asked)
    if meeting:
        span = max(m.interval.high / m.interval.low for m in meeting if m.interval is not None)
        detectable = f"a factor of {span:.2g}, the width of the widest interval"
        reason = "The rounds scatter too much to tell whether the estimate is met."
        return _judgement(found, ClaimVerdict.INCONCLUSIVE, reason, asked, detectable)
    reason = f"Against the fastest tier of Jamba no whole model trains {LOW:.0f} to {HIGH:.0f} times faster."
    return _judgement(found, ClaimVerdict.REFUTED, reason, asked)


def _judgement(
    found: Measured,
    verdict: ClaimVerdict,
    reason: str,
    asked: Sequence[Multiplier],
    detectable: str | None = None,
) -> Judgement:
    return Judgement(
        verdict,
        reason,
        "A faster baseline, another GPU or size, or more rounds.",
        detectable,
        evidence=found.runs,
        tables=(*tables(found)[:1], implied_baseline()),
        details=f"At n = {LENGTH}: {'; '.join(f'{m.named}: {m}' for m in asked)}. {found.conditions}",
    )


CLAIM = Claim(
    id="throughput-optimised",
    statement=f"Against optimised baselines it would train about {LOW:.0f} to {HIGH:.0f} times as fast.",
    source=SOURCE,
    test=f"Forward and backward of whole models, timed in turns on one GPU at n = {LENGTH}, against Jamba with the "
    f"fastest tier it has (fused kernels, else matrix products): SUPPORTED if the interval of the median of Hub-Jamba "
    f"or Hub-GPT meets {LOW:.0f} to {HIGH:.0f}. Runs on a CPU decide nothing.",
    refuted_by=f"Measured multipliers whose intervals all lie wholly outside {LOW:.0f} to {HIGH:.0f}.",
    judge=judge,
    published={"estimated multiplier": f"~{LOW:.0f}-{HIGH:.0f}x", "before optimisation": f"up to ~{MULTIPLIER:.0f}x"},
    needs=(NAME,),
)
