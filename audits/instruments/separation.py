"""Whether something in a model keeps documents apart once position ids begin again at each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from audits.instruments.differences import felt, scale_of
from audits.instruments.locate import crossed, record
from audits.instruments.noise_floor import noise_of, rounding
from audits.instruments.probe import Pair
from audits.instruments.replacing import replacements
from audits.subject.packing import Packing, Told
from audits.subject.subject import Subject


def keeps_apart(subject: Subject, told: Told) -> bool:
    """Whether the model, or a module of it, passes no change on to the next document that it does within a single one.

    A module counts where its own inputs agree in the second document: while positions run on it mixes the first into
    it, and once they begin again it does not. Where an earlier module has mixed them, later ones cannot be told.
    """
    running, restarted = _pairs(subject, told)
    floor = max(noise_of(subject), rounding(subject, scale_of(subject.run(running[0].base, told=running[0].told))))
    before, after = [felt(subject, p).effect > floor for p in running], [felt(subject, p).effect > 0 for p in restarted]
    if _silenced(before, after):
        return True
    calls = [_crossed(subject, pair, floor) for pair in running] + [_crossed(subject, pair, 0.0) for pair in restarted]
    if subject.module is None or len({len(each) for each in calls}) > 1:  # another order of calls: not to be compared
        return False
    return any(_silenced(each[: len(running)], each[len(running) :]) for each in zip(*calls, strict=True))


def _pairs(subject: Subject, told: Told) -> tuple[list[Pair], list[Pair]]:
    """Changes of the first document watched in the second, told as parts of one document, and as documents."""
    first, second = told.packing.spans[:2]
    base = subject.base()
    # Well before the border, so that short convolutions, which know no positions, do not carry the change across.
    rows = replacements(subject, base, (first[0], max(1, first[1] // 2)))
    one = replace(told, packing=Packing((sum(told.packing.lengths),)))
    running, restarted = ([Pair(base, row, 0, told=way, watched=second) for row in rows] for way in (one, told))
    return running, restarted


def _silenced(before: Sequence[bool | None], after: Sequence[bool | None]) -> bool:
    """Every change was passed on before, and none is now."""
    return all(before) and all(moved is False for moved in after)


def _crossed(subject: Subject, pair: Pair, floor: float) -> list[bool | None]:
    """For every module call in order, whether it mixed the changed document into the watched one."""
    one, two = record(subject, pair, pair.base), record(subject, pair, pair.changed)
    if [c.name for c in one] != [c.name for c in two]:
        return []
    return [crossed(a, b, pair, floor) for a, b in zip(one, two, strict=True)]
