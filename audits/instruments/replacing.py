"""Replaces one document of a packed row after another, and says what the others felt of it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from audits.instruments.changes import MAGNITUDES
from audits.instruments.noise_floor import gap, readable
from audits.subject.packing import Told
from audits.subject.randomness import generator
from audits.subject.subject import Subject

DRAWS = 2  # new contents drawn for every document of tokens


@dataclass(frozen=True, eq=False)
class Crossing:
    """What a document feels of another one, or of not being alone.

    Attributes:
        told: the row and how it is told to the model.
        effect: largest difference of the outputs of the document that should not have felt anything.
        watched: first position and end of that document.
        span: those of the document that was replaced; of the watched one where it was compared with itself alone.
        changed: the row with it replaced [1, N, ...]; None for a document alone.
    """

    told: Told
    effect: float
    watched: tuple[int, int]
    span: tuple[int, int]
    changed: Tensor | None = None

    @property
    def alone(self) -> bool:
        """Compared with the same document alone."""
        return self.changed is None

    @property
    def into_later(self) -> bool:
        """A later document feels an earlier one."""
        return self.span < self.watched

    @property
    def into_earlier(self) -> bool:
        """An earlier document feels a later one."""
        return self.span > self.watched


@dataclass(frozen=True)
class Examined:
    """One packed row: whether its outputs are numbers, whether replaced documents reacted themselves, what crossed."""

    told: Told
    finite: bool
    reacted: bool
    crossings: tuple[Crossing, ...]


def examine(subject: Subject, told: Told) -> Examined:
    """Replace every document in several ways; compare every document behind another with itself alone."""
    base = subject.base()
    before = subject.run(base, told=told)
    crossings, reacted = [], True
    for span in told.packing.spans:
        rows = replacements(subject, base, span)
        gaps = [gap(before, subject.run(row, told=told))[0].cpu() for row in rows]
        reacted &= any(float(g[slice(*span)].max()) > 0 for g in gaps)
        crossings += [
            Crossing(told, float(g[slice(*other)].max()), other, span, row)
            for g, row in zip(gaps, rows, strict=True)
            for other in told.packing.spans
            if other != span
        ]
    crossings += [c for span in told.packing.spans[1:] if (c := _alone(subject, told, before, span)) is not None]
    return Examined(told, readable(before), reacted, tuple(crossings))


def replacements(subject: Subject, base: Tensor, span: tuple[int, int]) -> list[Tensor]:
    """Rows in which one stretch is new: other draws, every token's neighbour, features of each magnitude."""
    gen = generator(subject.settings.seed, "documents", *span)
    if subject.settings.input == "features":
        fresh = subject.draw(1, base.shape[1], gen)
        others = [base + fresh * magnitude for magnitude in MAGNITUDES]
    else:
        others = [subject.draw(1, base.shape[1], gen) for _ in range(DRAWS)]
        others.append((base + 1) % (subject.settings.vocab_size or 2))
    rows = []
    for other in others:
        row = base.clone()
        row[:, slice(*span)] = other[:, slice(*span)]
        rows.append(row)
    return rows


def _alone(subject: Subject, told: Told, before: Tensor, span: tuple[int, int]) -> Crossing | None:
    """A document behind others against itself alone; None where the model takes nothing that short."""
    inside = slice(*span)
    try:
        alone = subject.run(subject.base()[:, inside])
    except Exception:
        return None
    return Crossing(told, float(gap(before[:, inside], alone).max()), span, span)
