"""The outcome of a game, in words and as a document."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from audits.betting.table import Account
from audits.betting.wealth import certifies, mean_wealth
from audits.jsonable import json_text

SCHEMA = 1


class BetVerdict(StrEnum):
    """What a game may say: a certificate of a leak, or nothing. There is no PASS: losing proves nothing."""

    LEAK = "LEAK"
    NOT_PROVEN = "NOT_PROVEN"


@dataclass(frozen=True)
class BetResult:
    """The outcome of one game; `to_json` is its document, versioned.

    Attributes:
        target: how the model is called.
        verdict: LEAK once wealth reached 1/alpha, at whatever step; else NOT_PROVEN.
        alpha: the probability, at most, of a LEAK on a causal model.
        log10_e_value: log10 of the wealth at the proof, else at the end: an e-value against "causal".
        p_value: 1 over the largest wealth, at most 1: valid at any stopping time.
        proven_at: the 1-based step of the proof, or None.
        steps: batches played.
        symbols: bets settled, over all gamblers.
        bits_per_token: what the best gambler stole from each token over the last steps; descriptive, not certified.
        gamblers: how each did.
        stopped: why the game ended.
        seconds: wall-clock time.
        settings: what was asked for.
        environment: versions and hardware.
    """

    target: str
    verdict: BetVerdict
    alpha: float
    log10_e_value: float
    p_value: float
    proven_at: int | None
    steps: int
    symbols: int
    bits_per_token: float
    gamblers: tuple[Account, ...]
    stopped: str
    seconds: float
    settings: Mapping[str, Any]
    environment: Mapping[str, str]

    @staticmethod
    def of(
        target: str,
        alpha: float,
        trace: Sequence[float],
        gamblers: tuple[Account, ...],
        *,
        symbols: int,
        stopped: str,
        seconds: float,
        settings: Mapping[str, Any],
        environment: Mapping[str, str],
    ) -> BetResult:
        """The result of a game whose log wealth after each step is `trace`, in nats."""
        proven_at = next((step for step, log in enumerate(trace, 1) if certifies(log, alpha)), None)
        return BetResult(
            target=target,
            verdict=BetVerdict.NOT_PROVEN if proven_at is None else BetVerdict.LEAK,
            alpha=alpha,
            log10_e_value=trace[(proven_at or len(trace)) - 1] / math.log(10),
            p_value=min(1.0, math.exp(-max(trace))),
            proven_at=proven_at,
            steps=len(trace),
            symbols=symbols,
            bits_per_token=max(account.bits_per_token for account in gamblers),
            gamblers=gamblers,
            stopped=stopped,
            seconds=seconds,
            settings=settings,
            environment=environment,
        )

    @property
    def log_wealth(self) -> tuple[float, ...]:
        """The wealth of all gamblers together after each step, in nats; each began with an equal part."""
        traces = (account.log_wealth for account in self.gamblers)
        return tuple(mean_wealth(logs) for logs in zip(*traces, strict=True))

    def to_json(self) -> str:
        """The result as a JSON text."""
        return json_text({"schema": SCHEMA, **asdict(self)})


def explain(result: BetResult) -> list[str]:
    """The result in a few lines: what is proven, how, and what is not."""
    best = max(result.gamblers, key=lambda account: account.bits_per_token)
    stolen = f"{best.bits_per_token:.4f} of {math.log2(best.alphabet):g} bits a token ({best.alphabet} symbols)"
    where = f", most at position {best.position} ({best.position_bits:.2f} bits)" if best.position is not None else ""
    played = f"{result.steps} steps, {result.symbols:,} bets, {result.seconds:.1f} s; stopped: {result.stopped}"
    if result.verdict is BetVerdict.LEAK:
        head = f"LEAK proven at level {result.alpha:g} after {result.proven_at} steps: no causal model wins these bets"
        means = f"e-value 10^{result.log10_e_value:.1f}: a causal model reaches it with probability at most the inverse"
    else:
        head = f"NOT PROVEN at level {result.alpha:g}: no certificate, which is not a PASS"
        means = "the gamblers did not learn to use a leak, if there is one; the probes of `model` look for it directly"
    lines = [f"{head}  {result.target}", means, f"stolen lately: {stolen}{where}", played]
    lost = sum(account.lost_steps for account in result.gamblers)
    return lines + ([f"{lost} steps taught nothing: predictions or gradients were not finite"] if lost else [])
