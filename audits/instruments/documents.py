"""Packed documents: replaced one at a time, and whether a model isolates them by position ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from audits.instruments.changes import MAGNITUDES, mix
from audits.instruments.differences import response
from audits.instruments.locate import introduces_leak, module_calls
from audits.instruments.noise_floor import noise_of, rounding, scale_of
from audits.instruments.probe import Pair
from audits.subject.packing import DocumentKwargs, Packing
from audits.subject.randomness import generator
from audits.subject.subject import Subject

DRAWS = 2  # new contents drawn for every document of tokens
Span = tuple[int, int]  # first position and end of a document


def replacements(subject: Subject, base: Tensor, span: Span) -> list[Tensor]:
    """Rows with a new span: other draws, every token's successor, features of each magnitude."""
    gen = generator(subject.settings.seed, "documents", *span)
    if subject.settings.input == "features":
        fresh = subject.draw(1, base.shape[1], gen)
        others = [base + fresh * magnitude for magnitude in MAGNITUDES]
    else:
        others = [subject.draw(1, base.shape[1], gen) for _ in range(DRAWS)]
        others.append((base + 1) % (subject.settings.vocab_size or 2))
    position = torch.arange(base.shape[1])[None]
    return [mix((position < span[0]) | (position >= span[1]), base, other) for other in others]


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
    # For every module call in order, whether it mixed the changed document into the compared one.
    calls = [
        [introduces_leak(one, two, pair, least) for one, two in module_calls(subject, pair)]
        for pairs, least in ((consecutive, floor), (restarting, 0.0))
        for pair in pairs
    ]
    if len({len(each) for each in calls}) > 1:  # another order of calls: not comparable
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
