"""Claim `throughput-90x`: one training-throughput multiplier against an unspecified implementation."""

from __future__ import annotations

from collections.abc import Sequence
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
    OUTLIER,
    Measured,
    Multiplier,
    answer,
    figures,
    measured,
    not_on_a_gpu,
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
    if not found.on_gpu:
        return not_on_a_gpu(found, (*tables(found), amdahl()), figures(found, (PUBLISHED,)))
    if found.void is not None:
        return _judgement(found, ClaimVerdict.INCONCLUSIVE, found.void, "not computable: void")
    asked = found.at(LENGTH)
    reached = [m for m in asked if m.interval is not None and m.interval.high >= MULTIPLIER]
    if any(not m.wide for m in reached):
        reason = (
            f"Against some baseline tiers, named in the details, a whole model trains {MULTIPLIER:.0f} times faster."
        )
        return _judgement(found, ClaimVerdict.SUPPORTED, reason, shown=reached)
    open_ = reached or [m for m in asked if m.ratio is None and _could_be_run(m)]
    if open_ or not any(m.ratio is not None for m in asked):
        reason = "The comparisons that would decide were not run, or their rounds scatter too much."
        return _judgement(found, ClaimVerdict.INCONCLUSIVE, reason, _detectable(open_), open_)
    reason = f"Against no baseline tier does a whole model train {MULTIPLIER:.0f} times faster."
    return _judgement(found, ClaimVerdict.REFUTED, reason)


def _could_be_run(multiplier: Multiplier) -> bool:
    """Whether it was left out for its time, and not because this machine does not have the tier."""
    return "predicted" in (multiplier.why or "")


def _detectable(open_: Sequence[Multiplier]) -> str:
    spans = [m.interval.high / m.interval.low for m in open_ if m.interval is not None]
    return f"a factor of {max(spans):.2g}, the width of the widest interval" if spans else "not computable: not run"


def _judgement(
    found: Measured,
    verdict: ClaimVerdict,
    reason: str,
    detectable: str | None = None,
    shown: Sequence[Multiplier] = (),
) -> Judgement:
    deciding = f" Deciding: {'; '.join(f'{m.named}: {m}' for m in shown)}." if shown else ""
    return Judgement(
        verdict,
        reason,
        "Another GPU, more rounds, or the published baseline's code: it decides the number.",
        detectable,
        evidence=found.runs,
        tables=(*tables(found), amdahl()),
        figures=figures(found, (PUBLISHED,)),
        details=f"{answer(found)}{deciding} {found.conditions}",
    )


CLAIM = Claim(
    id="throughput-90x",
    statement=f"Hub-Jamba trains up to about {MULTIPLIER:.0f} times as fast as PyTorch-native baselines.",
    source=SOURCE,
    test="Forward and backward of whole models, timed in turns on one GPU (runs on a CPU decide nothing: the mechanism "
    f"is the number of kernels started), against each baseline tier: is there a comparison at n = {LENGTH} whose "
    f"interval reaches {MULTIPLIER:.0f}? The median of the rounds' ratios counts; rounds with a step of more than "
    f"{OUTLIER:g} times its subject's median are left out and named. Read in favour of the claim: Hub-GPT counts as "
    "well as Hub-Jamba, and Hub-Jamba may have the fastest Mamba layers where Jamba has slow ones. SUPPORTED for the "
    "named tiers only.",
    refuted_by=f"No baseline tier against which a whole model trains {MULTIPLIER:.0f} times faster at n = {LENGTH}.",
    judge=judge,
    published={"training throughput multiplier": f"up to ~{MULTIPLIER:.0f}x", "sequence length": str(LENGTH)},
    needs=(NAME,),
)
