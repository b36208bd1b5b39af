"""One traced operation as its rule sees it: values, stamps, the result; and the register of rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from audits.instruments.tracing.taint_map import MASKED, STAMP

Marks = dict[str, Any]  # argument name -> stamps, or a list of them (None for constants) where the argument is a list
Result = Tensor | tuple[Tensor | None, ...] | None
Rule = Callable[["Call"], Result]


@dataclass
class Notes:
    """What a trace took for granted or could not follow, gathered while it runs.

    `grouping` lets rules take sorting by integer keys for grouping (see `rules_group`).
    """

    grouping: bool = False
    assumptions: dict[str, None] = field(default_factory=dict)  # an ordered set
    unknown: dict[str, None] = field(default_factory=dict)


@dataclass(frozen=True)
class Call:
    """One operation that has at least one input that is not constant.

    Attributes:
        name: of the operation, without namespace, overload and trailing underscore.
        values: arguments by name, as they were before the operation; absent ones take the schema's default.
        marks: stamps of the arguments that are not constant.
        out: what the operation returned.
        sparse: names of the marked arguments whose storage holds constants too.
        masked: names of the arguments whose stamps may carry the mark of masked elements.
        packed: whether an argument holds coordinates of cells that a mask kept.
        zeros: says whether a constant tensor may hold a zero.
        notes: where rules record what they assumed.
    """

    name: str
    values: dict[str, Any]
    marks: Marks
    out: Any
    sparse: frozenset[str]
    masked: frozenset[str]
    packed: frozenset[str]
    zeros: Callable[[Tensor], bool]
    notes: Notes

    def get(self, name: str, default: Any = None) -> Any:
        """An argument, or the default where the caller left it out."""
        value = self.values.get(name, default)
        return default if value is None else value

    def mark(self, name: str) -> Tensor | None:
        """The stamps of an argument; None where it is constant."""
        return self.marks.get(name)

    def solid(self, name: str) -> Tensor:
        """The stamps of a tensor argument, zeros where it is constant."""
        mark = self.marks.get(name)
        if mark is not None:
            return mark  # type: ignore[no-any-return] # tensors only: lists have their own accessor
        value = self.values[name]
        return torch.zeros(value.shape, dtype=STAMP, device=value.device)

    def all_marks(self) -> Iterator[Tensor]:
        """Every stamps tensor, those inside lists too."""
        for mark in self.marks.values():
            yield from (m for m in mark if m is not None) if isinstance(mark, list) else (mark,)

    def annihilating(self, name: str) -> Tensor | None:
        """Where an argument is a zero that no other factor can change, bool in its shape; None where it nowhere is.

        That is a constant zero, or the zero weight of something masked: whether it is masked may depend on tokens, and
        the stamp of the zero itself says on which.
        """
        value, mark = self.values[name], self.marks.get(name)
        if not isinstance(value, Tensor):
            return torch.ones((), dtype=torch.bool) if value == 0 else None
        # Two masked factors would each take the other's stamp away, so then only constants count.
        masked = self.masked == {name}
        if (mark is not None and name not in self.sparse and not masked) or (mark is None and not self.zeros(value)):
            return None
        where = value == 0
        if mark is not None:
            where &= (mark == 0) | (mark >= MASKED) if masked else mark == 0
        return where if bool(where.any()) else None

    def with_marks(self, marks: Marks) -> Call:
        """The same call with other stamps."""
        return replace(self, marks=marks)


RULES: dict[str, Rule] = {}
LAYOUT: set[str] = set()  # operations that only move elements
KEEPS_MASKED: set[str] = set()  # operations whose rules understand the MASKED mark


def rule(*names: str, layout: bool = False, masked: bool = False) -> Callable[[Rule], Rule]:
    """Register a rule for operations of these names.

    Args:
        names: as in `Call.name`.
        layout: they only move elements.
        masked: the rule understands the MASKED mark; for others it is removed beforehand.
    """

    def register(function: Rule) -> Rule:
        for name in names:
            RULES[name] = function
        LAYOUT.update(names if layout else ())
        KEEPS_MASKED.update(names if masked else ())
        return function

    return register


def latest(*stamps: Tensor | None) -> Tensor | None:
    """Element-wise latest of stamps that broadcast; None where all are constant."""
    found = None
    for stamp in stamps:
        if stamp is not None:
            found = stamp if found is None else torch.maximum(found, stamp)
    return found


def without(stamps: Tensor | None, where: Tensor | None) -> Tensor | None:
    """Stamps with constants put in where the condition, which broadcasts, holds."""
    if stamps is None or where is None:
        return stamps
    return torch.where(where.to(stamps.device), 0, stamps)
