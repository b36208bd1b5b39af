"""One measurement of the bench: a layer at a length in a pass, against attention and what the machine can do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import msgspec

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


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What a run recorded of one layer.

    Attributes:
        layer: what it computes.
        impl: how.
        backend: the alternative that was run; empty where there are none.
        seconds: of each round; of a decode step, for one token. Empty where it was not run.
        peak_bytes: at a step's peak, beyond what was held before.
        flops: operations that its definition demands; None where they are not counted, as the next two.
        bytes: traffic that it demands.
        core_bytes: traffic of the mixing alone, without the projections.
        not_run: why there is no time.
    """

    layer: str
    impl: str
    backend: str = ""
    seconds: tuple[float, ...] = ()
    peak_bytes: int | None = None
    flops: float | None = None
    bytes: float | None = None
    core_bytes: float | None = None
    not_run: str | None = None


class Row(Entry, frozen=True, kw_only=True):
    """One layer at one length in one pass.

    Attributes:
        n: tokens, or the position of a decode step.
        passes: one of `PASSES`.
        run: address of the run.
        ceilings: those of the same run.
        attention: seconds of attention in the same rounds; empty without attention.
        projections: seconds of the projections alone in the same rounds; empty without them.
    """

    n: int
    passes: str
    run: str
    ceilings: Ceilings | None
    attention: tuple[float, ...]
    projections: tuple[float, ...]

    @property
    def ms(self) -> Spread | None:
        """Milliseconds of a step; of a decode step, of one token. None where it was not run."""
        return spread([1000 * taken for taken in self.seconds])

    @property
    def ratio(self) -> Spread | None:
        """To attention in the same round; None without attention."""
        return paired_ratio(self.seconds, self.attention)

    @property
    def to_projections(self) -> Spread | None:
        """To the projections alone in the same round; None without them."""
        return paired_ratio(self.seconds, self.projections)

    @property
    def to_floor(self) -> Spread | None:
        """To the floor, which is the same for all rounds; None where there is none."""
        return spread([1000 * taken / self.floor_ms for taken in self.seconds]) if self.floor_ms else None

    @property
    def core_share(self) -> float | None:
        """Of the measured copy rate, what the mixing reaches in the layer's time less that of the projections."""
        if self.core_bytes is None or self.ceilings is None or not self.seconds:
            return None
        if len(self.seconds) != len(self.projections):
            return None
        core = median(taken - other for taken, other in zip(self.seconds, self.projections, strict=True))
        return self.core_bytes / core / self.ceilings.bytes if core > 0 else None

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
