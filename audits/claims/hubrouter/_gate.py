"""What has to hold before a perplexity counts: causal models are causal, and training did not diverge."""

from __future__ import annotations

from collections.abc import Sequence

from audits.claims.claim import ClaimVerdict, Judgement
from audits.claims.hubrouter._trained import Trained, diverged, leaks, passes, runs_of


def void(scale: str, causal: Sequence[Sequence[Trained]], arms: Sequence[Sequence[Trained]]) -> Judgement | None:
    """The judgement where the perplexities do not count; None where they do.

    Args:
        scale: of the runs, in words.
        causal: the arms that have to pass the causality gate.
        arms: all arms compared.
    """
    runs = runs_of(*arms)
    if any(leaks(arm) for arm in causal):
        reason = "An arm that has to be causal leaks, which voids its perplexity."
        return Judgement(
            ClaimVerdict.INCONCLUSIVE, reason, "A causal model.", "none", None, runs, gate=False, details=f"{scale}."
        )
    if not all(passes(arm) for arm in causal):
        reason = "Some probe could not decide on an arm that has to be causal; that is not a PASS."
        return Judgement(
            ClaimVerdict.INCONCLUSIVE, reason, "Probes that can decide.", "none", None, runs, details=f"{scale}."
        )
    if lost := diverged(*arms):
        reason = f"{lost} of {len(runs)} runs diverged, so perplexities cannot be paired."
        return Judgement(
            ClaimVerdict.INCONCLUSIVE, reason, "Runs that converge.", "none", None, runs, details=f"{scale}."
        )
    return None
