"""The outcome of a test by betting, in words and as a document."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from audits.betting.eprocess import WINDOW, PredictorSummary
from audits.betting.wealth import mean_wealth
from audits.jsonable import json_text

SCHEMA = 1


class BetVerdict(StrEnum):
    """A certificate of a leak, or nothing. There is no PASS: losing bets proves nothing."""

    LEAK = "LEAK"
    NOT_PROVEN = "NOT_PROVEN"


@dataclass(frozen=True)
class BetResult:
    """The outcome of one test; `to_json` is its document, versioned."""

    target: str
    verdict: BetVerdict  # LEAK once wealth reached 1/alpha, at whatever step; else NOT_PROVEN
    alpha: float  # the probability, at most, of a LEAK on a causal model
    log10_e_value: float  # log10 of the wealth at the proof, else at the end: an e-value against "causal"
    p_value: float  # 1 over the largest wealth, at most 1: valid at any stopping time
    proven_at: int | None  # the 1-based step of the proof
    steps: int  # batches drawn
    symbols: int  # bets settled, over all predictors
    bits_per_token: float  # that the best predictor extracted over the last steps; descriptive, not certified
    predictors: tuple[PredictorSummary, ...]
    stopped: str  # why the test ended
    seconds: float  # wall-clock time
    settings: Mapping[str, Any]  # of the subject and of the test
    environment: Mapping[str, str]  # versions and hardware

    @property
    def log_wealth(self) -> tuple[float, ...]:
        """The mean wealth of the predictors after each step, in nats."""
        traces = (summary.log_wealth for summary in self.predictors)
        return tuple(mean_wealth(logs) for logs in zip(*traces, strict=True))

    def to_json(self) -> str:
        """The result as a JSON text; the document calls the predictors `gamblers`, as it did from its first version."""
        fields = {"gamblers" if name == "predictors" else name: value for name, value in asdict(self).items()}
        return json_text({"schema": SCHEMA, **fields})


def explain(result: BetResult) -> list[str]:
    """The result in a few lines: what is proven, how, and what is not."""
    best = max(result.predictors, key=lambda summary: summary.bits_per_token)
    extracted = f"{best.bits_per_token:.4f} of {math.log2(best.alphabet):g} bits per token ({best.alphabet} symbols)"
    where = f", most at position {best.position} ({best.position_bits:.2f} bits)" if best.position is not None else ""
    effort = f"{result.steps} steps, {result.symbols:,} bets, {result.seconds:.1f} s; stopped: {result.stopped}"
    if result.verdict is BetVerdict.LEAK:
        head = f"LEAK proven at level {result.alpha:g} after {result.proven_at} steps: no causal model wins these bets"
        means = f"e-value 10^{result.log10_e_value:.1f}: a causal model reaches it with probability at most the inverse"
    else:
        head = f"NOT PROVEN at level {result.alpha:g}: no certificate, which is not a PASS"
        means = (
            "the predictors did not learn to use a leak, if there is one; the probes of `model` test for it directly"
        )
    lines = [f"{head}  {result.target}", means, f"extracted in the last {WINDOW} steps: {extracted}{where}", effort]
    skipped = sum(summary.lost_steps for summary in result.predictors)
    return lines + ([f"{skipped} steps without an update: predictions or gradients were not finite"] if skipped else [])
