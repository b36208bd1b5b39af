"""One measurement of the bench: a layer at a length in a pass, against attention and what the machine can do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

PASSES = ("forward", "forward+backward", "decode")


@dataclass(frozen=True)
class Spread:
    """Median, lowest and highest over the rounds of a run."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Ceilings:
    """What the machine did at most in the same run: operations a second (matmul), bytes a second (copy)."""

    flops: float
    bytes: float


@dataclass(frozen=True)
class Row:
    """One layer at one length in one pass.

    Attributes:
        layer: what it computes.
        impl: how.
        backend: the alternative that was fastest; empty where there are none.
        n: tokens, or the position of a decode step.
        passes: one of `PASSES`.
        ms: milliseconds of a step; of a decode step, of one token. None where it was not run.
        ratio: to attention in the same round; None without attention.
        peak_bytes: at a step's peak, beyond what was held before.
        flops: operations that its definition demands; None where they are not counted, as the next one.
        bytes: traffic that it demands.
        ceilings: those of the same run.
        core_share: of the measured copy rate that the layer reaches without its projections; forward only.
        not_run: why there is no time.
        run: address of the run.
    """

    layer: str
    impl: str
    backend: str
    n: int
    passes: str
    ms: Spread | None
    ratio: Spread | None
    peak_bytes: int | None
    flops: float | None
    bytes: float | None
    ceilings: Ceilings | None
    core_share: float | None
    not_run: str | None
    run: str

    @property
    def name(self) -> str:
        """Layer and implementation."""
        return f"{self.layer}/{self.impl}"

    @property
    def floor_ms(self) -> float | None:
        """The least time that the demanded operations and traffic take at the measured rates."""
        if self.flops is None or self.bytes is None or self.ceilings is None:
            return None
        return 1000 * max(self.flops / self.ceilings.flops, self.bytes / self.ceilings.bytes)

    @property
    def bound(self) -> str | None:
        """Which of the two decides the floor: "operations" or "traffic"."""
        if self.flops is None or self.bytes is None or self.ceilings is None:
            return None
        return "operations" if self.flops / self.ceilings.flops >= self.bytes / self.ceilings.bytes else "traffic"

    @property
    def flop_share(self) -> float | None:
        """Achieved operations a second, as a share of the measured matmul rate."""
        return self._share(self.flops, None if self.ceilings is None else self.ceilings.flops)

    @property
    def byte_share(self) -> float | None:
        """Achieved traffic a second, as a share of the measured copy rate."""
        return self._share(self.bytes, None if self.ceilings is None else self.ceilings.bytes)

    def _share(self, amount: float | None, rate: float | None) -> float | None:
        if amount is None or rate is None or self.ms is None:
            return None
        return 1000 * amount / self.ms.median / rate


def spread(values: Sequence[float]) -> Spread | None:
    """Median and range; None of nothing."""
    return Spread(median(values), min(values), max(values)) if values else None


def paired_ratio(seconds: Sequence[float], base: Sequence[float]) -> Spread | None:
    """Ratios within the rounds, so that what slows the machine for a while is in both; None where one was not run."""
    if not seconds or len(seconds) != len(base):
        return None
    return spread([taken / other for taken, other in zip(seconds, base, strict=True)])
