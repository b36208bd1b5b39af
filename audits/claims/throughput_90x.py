"""Claim `throughput-90x`: one training-throughput multiplier against an unspecified implementation."""

from __future__ import annotations

from audits.claim import Claim, ClaimVerdict, Judgement, Table
from audits.claims._paper import PRINTED_ALONE, SOURCE
from audits.ledger import Evidence

MULTIPLIER = 90.0
OPTIMISED = (10.0, 15.0)  # the same abstract's estimate against an optimised baseline
LENGTH = 1024


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
    multipliers = (*OPTIMISED, MULTIPLIER)
    rows = ((f"{m:.0f}x", f"{100 * share_removed(m):.1f} %", f"{MULTIPLIER / m:.0f}x") for m in multipliers)
    return Table(
        "What a whole-model multiplier demands (arithmetic on the printed numbers, no measurement)",
        ("multiplier", "share of the baseline's step that must vanish", "part of 90x owed to the baseline's code"),
        tuple(rows),
    )


def judge(_evidence: Evidence) -> Judgement:
    """Judge from the printed numbers, with which come no hardware, baseline code or step-time breakdown."""
    low, high = (MULTIPLIER / m for m in reversed(OPTIMISED))
    return Judgement(
        ClaimVerdict.NOT_TESTABLE,
        f"A throughput multiplier has no value without the baseline's code, and the abstract does not give it: by its "
        f"own estimate a better written baseline accounts for a factor of {low:.0f} to {high:.0f} of the "
        f"{MULTIPLIER:.0f}. As a whole-model figure it needs {100 * share_removed(MULTIPLIER):.1f} % of the "
        f"baseline's step to vanish. {PRINTED_ALONE}",
        "A benchmark by baseline tier (token-by-token Python loop, chunked scan, matrix-multiplication scan, fused "
        "kernel), for layer and whole model, at several lengths on one named machine; this version has none. The "
        "answer is one multiplier for each tier, never one number.",
        tables=(amdahl(),),
    )


CLAIM = Claim(
    id="throughput-90x",
    statement=f"Hub-Jamba trains with up to about {MULTIPLIER:.0f} times the throughput at n = {LENGTH} of matched "
    "PyTorch-native baselines.",
    source=SOURCE,
    test="Training throughput of whole models and of single layers against each tier of baseline, same machine, width, "
    "batch and precision, medians of repeated runs. Without such a benchmark: NOT_TESTABLE.",
    refuted_by=f"No baseline tier against which the whole model trains {MULTIPLIER:.0f} times faster at n = {LENGTH}.",
    judge=judge,
    published={"training throughput multiplier": f"up to ~{MULTIPLIER:.0f}x", "sequence length": str(LENGTH)},
)
