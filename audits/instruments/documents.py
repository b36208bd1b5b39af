"""Packed documents: what one of them changes in the others, and whether a model isolates them by position ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from audits.instruments.changes import MAGNITUDES
from audits.instruments.differences import response
from audits.instruments.locate import introduces_leak, record_calls
from audits.instruments.noise_floor import comparable, max_abs_diff, noise_of, rounding, scale_of
from audits.instruments.probe import Pair
from audits.subject.packing import DocumentKwargs, Packing
from audits.subject.randomness import generator
from audits.subject.subject import Subject

DRAWS = 2  # new contents drawn for every document of tokens
Span = tuple[int, int]  # first position and end of a document


@dataclass(frozen=True, eq=False)
class CrossDocumentEffect:
    """How far a document depends on another one, or on not being alone in its row.

    Attributes:
        kwargs: the row, and the arguments that give the model its documents.
        effect: largest difference of outputs of the document that should not have changed.
        sink: that document.
        source: the document that was replaced; the sink itself where it was compared with itself alone.
        changed: the row with the source replaced [1, N, ...]; None for a document alone.
    """

    kwargs: DocumentKwargs
    effect: float
    sink: Span
    source: Span
    changed: Tensor | None = None

    @property
    def alone(self) -> bool:
        """The document was compared with itself alone."""
        return self.changed is None

    @property
    def into_later(self) -> bool:
        """A later document depends on an earlier one."""
        return self.source < self.sink

    @property
    def into_earlier(self) -> bool:
        """An earlier document depends on a later one."""
        return self.source > self.sink


@dataclass(frozen=True)
class PackedRow:
    """What was measured on one packed row.

    Attributes:
        kwargs: the row, and the arguments that give the model its documents.
        finite: whether its outputs can be compared.
        reacted: whether the outputs of every replaced document changed.
        effects: on all other documents.
    """

    kwargs: DocumentKwargs
    finite: bool
    reacted: bool
    effects: tuple[CrossDocumentEffect, ...]


def measure_row(subject: Subject, kwargs: DocumentKwargs) -> PackedRow:
    """Replace every document in several ways; compare every document after the first with itself alone."""
    base = subject.base()
    before = subject.run(base, extra_kwargs=kwargs)
    effects, reacted = [], True
    for source in kwargs.packing.spans:
        rows = replacements(subject, base, source)
        differences = [max_abs_diff(before, subject.run(row, extra_kwargs=kwargs))[0].cpu() for row in rows]
        reacted &= any(float(difference[slice(*source)].max()) > 0 for difference in differences)
        effects += [
            CrossDocumentEffect(kwargs, float(difference[slice(*sink)].max()), sink, source, row)
            for difference, row in zip(differences, rows, strict=True)
            for sink in kwargs.packing.spans
            if sink != source
        ]
    effects += [e for span in kwargs.packing.spans[1:] if (e := _alone(subject, kwargs, before, span)) is not None]
    return PackedRow(kwargs, comparable(before), reacted, tuple(effects))


def replacements(subject: Subject, base: Tensor, span: Span) -> list[Tensor]:
    """Rows with a new span: other draws, every token's successor, features of each magnitude."""
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


def _alone(subject: Subject, kwargs: DocumentKwargs, before: Tensor, span: Span) -> CrossDocumentEffect | None:
    """A document after others against itself alone; None where the model takes nothing that short."""
    inside = slice(*span)
    try:
        alone = subject.run(subject.base()[:, inside])
    except Exception:
        return None
    return CrossDocumentEffect(kwargs, float(max_abs_diff(before[:, inside], alone).max()), span, span)


def isolates_documents(subject: Subject, kwargs: DocumentKwargs) -> bool:
    """Whether position ids that restart at each document stop an effect on the next one that consecutive ids let pass.

    This is decided for the model and for each of its modules. A module counts where its own inputs agree in the second
    document: with consecutive ids it mixes the first document into the second, with restarting ids it does not. After a
    module that has mixed them, later ones cannot be judged.
    """
    consecutive, restarting = _pairs(subject, kwargs)
    outputs = subject.run(consecutive[0].base, extra_kwargs=consecutive[0].extra_kwargs)
    floor = max(noise_of(subject), rounding(subject, scale_of(outputs)))
    before = [float(response(subject, pair).max()) > floor for pair in consecutive]
    after = [float(response(subject, pair).max()) > 0 for pair in restarting]
    if _stopped(before, after):
        return True
    calls = [_mixing(subject, p, floor) for p in consecutive] + [_mixing(subject, p, 0.0) for p in restarting]
    if subject.module is None or len({len(each) for each in calls}) > 1:  # another order of calls: not comparable
        return False
    return any(_stopped(each[: len(consecutive)], each[len(consecutive) :]) for each in zip(*calls, strict=True))


def _pairs(subject: Subject, kwargs: DocumentKwargs) -> tuple[list[Pair], list[Pair]]:
    """Changes of the first document, compared in the second: given as parts of one document, and as documents."""
    first, second = kwargs.packing.spans[:2]
    base = subject.base()
    # Well before the boundary, so that short convolutions, which use no positions, do not carry the change across.
    rows = replacements(subject, base, (first[0], max(1, first[1] // 2)))
    one = replace(kwargs, packing=Packing((sum(kwargs.packing.lengths),)))
    consecutive, restarting = (
        [Pair(base, row, 0, extra_kwargs=each, compared=second) for row in rows] for each in (one, kwargs)
    )
    return consecutive, restarting


def _stopped(before: Sequence[bool | None], after: Sequence[bool | None]) -> bool:
    """Every change had an effect before, and none has one now."""
    return all(before) and all(effect is False for effect in after)


def _mixing(subject: Subject, pair: Pair, floor: float) -> list[bool | None]:
    """For every module call in order, whether it mixed the changed document into the compared one."""
    one, two = record_calls(subject, pair, pair.base), record_calls(subject, pair, pair.changed)
    if [c.name for c in one] != [c.name for c in two]:
        return []
    return [introduces_leak(a, b, pair, floor) for a, b in zip(one, two, strict=True)]
