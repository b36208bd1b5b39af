"""The arms of the language-model studies, and the scale of each tier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

CAUSAL, BIDIRECTIONAL = "causal", "bidirectional"
TUNING, JUDGED = "tuning", "judged"  # the stages of an arm: its learning rate is chosen, then it is judged
TUNING_SEED, FIRST_SEED = 900, 100  # no judged run shares its seed with a tuning run


@dataclass(frozen=True)
class Arm:
    """One side of a comparison.

    Attributes:
        pattern: one letter a layer, as in `ModelConfig`.
        routing: how the hub layers route: causal, bidirectional as published, or a dose of a leak (`_doses.py`).
        council: what the hub layers' council reads, as in `RouterConfig`, like the next five.
        selection: which tokens they select.
        readout: whether tokens read the hubs.
        hubs: their number M, or its limit where a price closes them.
        k: tokens selected.
        chunk: chunk size C.
        width: D.
        mlp: width of the MLPs; 0 is four times D.
        price: of an open hub in nats, which makes M adaptive; 0 keeps all hubs.
        text: a corpus of its own, as `load_corpus` names it; empty is the user's.
    """

    pattern: str
    routing: str = CAUSAL
    council: str = "selected+chunk"
    selection: str = "learned"
    readout: bool = True
    hubs: int = 8
    k: int = 4
    chunk: int = 16
    width: int = 64
    mlp: int = 0
    price: float = 0.0
    text: str = ""


NAMES = tuple(field.name for field in fields(Arm))


def arm_of(config: dict[str, Any]) -> Arm:
    """The arm of a run."""
    return Arm(**{name: config[name] for name in NAMES})


@dataclass(frozen=True)
class Size:
    """The scale of a tier; where it has several rates, each arm's own is chosen among them."""

    layers: int
    width: int
    hubs: int
    k: int
    chunk: int
    vocab_size: int
    steps: int
    batch: int
    seq_len: int
    rates: tuple[float, ...]
    seeds: int
    valid_tokens: int
    tuning_tokens: int

    def arm(self, pattern: str, **changes: Any) -> Arm:
        """An arm at this scale."""
        return Arm(pattern, **{"hubs": self.hubs, "k": self.k, "chunk": self.chunk, "width": self.width} | changes)

    @property
    def shape(self) -> dict[str, Any]:
        """What a run's configuration holds of it."""
        names = ("vocab_size", "steps", "batch", "seq_len", "valid_tokens", "tuning_tokens")
        return {name: value for name, value in asdict(self).items() if name in names}


SIZES = {
    "quick": Size(2, 64, 8, 4, 16, 1024, 250, 16, 128, (4e-3,), 3, 65_536, 32_768),
    "full": Size(4, 64, 8, 4, 16, 1024, 300, 8, 128, (4e-3, 1e-2, 2.5e-2), 5, 65_536, 32_768),
    "paper": Size(12, 512, 8, 16, 64, 8192, 3000, 32, 1024, (3e-4, 6e-4, 1.2e-3), 5, 524_288, 131_072),
}


@dataclass(frozen=True)
class Cell:
    """An arm, the seeds it is judged with, and the arm whose learning rate it takes where that is not its own."""

    arm: Arm
    seeds: int
    tuned_as: Arm | None = None

    @property
    def tuned(self) -> Arm:
        """The arm whose rate counts."""
        return self.tuned_as or self.arm


def cells(arms: Sequence[Arm], seeds: int) -> tuple[Cell, ...]:
    """These arms with so many seeds, each with a rate of its own."""
    return tuple(Cell(arm, seeds) for arm in arms)
