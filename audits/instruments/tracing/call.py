"""One traced operation as its rule sees it: arguments, their labels, the result; and the registry of rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from audits.instruments.tracing.taint_map import LABEL_DTYPE, MASKED, TaintMap

# Argument name -> labels, or a list of them (None for constants) where the argument is a list.
ArgumentLabels = dict[str, Any]
Result = Tensor | tuple[Tensor | None, ...] | None
Rule = Callable[["Call"], Result]


@dataclass
class Notes:
    """What a trace assumed or could not follow, collected while it runs.

    `grouping` lets rules assume that tokens sorted by integer keys interact within their group (see `rules_group`).
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
        labels: of the arguments that are not constant.
        out: what the operation returned.
        maps: the taint maps of the tensors of each argument that is not constant.
        may_hold_zero: says whether a constant tensor may hold a zero.
        notes: where rules record what they assumed.
    """

    name: str
    values: dict[str, Any]
    labels: ArgumentLabels
    out: Any
    maps: Mapping[str, Sequence[TaintMap]]
    may_hold_zero: Callable[[Tensor], bool]
    notes: Notes

    @cached_property
    def sparse(self) -> frozenset[str]:
        """Names of the labelled arguments whose storage holds constants too."""
        return self._names(lambda taint_map: not taint_map.dense())

    @cached_property
    def masked(self) -> frozenset[str]:
        """Names of the arguments whose labels may have the MASKED flag."""
        return self._names(lambda taint_map: taint_map.masked)

    @cached_property
    def packed(self) -> frozenset[str]:
        """Names of the arguments that hold coordinates of cells that a mask kept."""
        return self._names(lambda taint_map: taint_map.packed)

    def _names(self, has: Callable[[TaintMap], bool]) -> frozenset[str]:
        return frozenset(name for name, maps in self.maps.items() if any(has(each) for each in maps))

    def get(self, name: str, default: Any = None) -> Any:
        """An argument, or the default where the caller left it out."""
        value = self.values.get(name, default)
        return default if value is None else value

    def labels_of(self, name: str) -> Tensor | None:
        """The labels of an argument; None where it is constant."""
        return self.labels.get(name)

    def labels_or_zeros(self, name: str) -> Tensor:
        """The labels of a tensor argument, zeros where it is constant."""
        labels = self.labels.get(name)
        if labels is not None:
            return labels  # type: ignore[no-any-return] # tensors only: lists are read from `labels` directly
        return zeros_for(self.values[name])

    def all_labels(self) -> Iterator[Tensor]:
        """Every tensor of labels, those inside lists too."""
        for labels in self.labels.values():
            yield from (m for m in labels if m is not None) if isinstance(labels, list) else (labels,)

    def annihilating(self, name: str) -> Tensor | None:
        """Where an argument is a zero that no other factor can change, bool in its shape; None where it nowhere is.

        That is a constant zero, or the zero weight of something masked: whether it is masked may depend on tokens, and
        the label of the zero itself says on which.
        """
        value, labels = self.values[name], self.labels.get(name)
        if not isinstance(value, Tensor):
            return torch.ones((), dtype=torch.bool) if value == 0 else None
        # Two masked factors would each remove the other's label, so then only constants count.
        masked = self.masked == {name}
        if labels is None:
            if not self.may_hold_zero(value):
                return None
        elif name not in self.sparse and not masked:
            return None
        where = value == 0
        if labels is not None:
            where &= (labels == 0) | (labels >= MASKED) if masked else labels == 0
        return where if bool(where.any()) else None

    def assume(self, text: str) -> None:
        """Record an assumption, in words that follow "assuming that"."""
        self.notes.assumptions[text] = None

    def with_labels(self, labels: ArgumentLabels) -> Call:
        """The same call with other labels."""
        return replace(self, labels=labels)


RULES: dict[str, Rule] = {}
UNKNOWN_FORM = (KeyError, IndexError, TypeError, ValueError, RuntimeError, AttributeError)  # raised by rules
KEEPS_MASKED: set[str] = set()  # operations whose rules understand the MASKED flag


def rule(*names: str, masked: bool = False) -> Callable[[Rule], Rule]:
    """Register a rule for operations of these names.

    Args:
        names: as in `Call.name`.
        masked: the rule understands the MASKED flag; for others it is removed beforehand.
    """

    def register(function: Rule) -> Rule:
        for name in names:
            RULES[name] = function
        KEEPS_MASKED.update(names if masked else ())
        return function

    return register


def labels_of_result(rule: Rule, call: Call, number: int, shape: torch.Size) -> Tensor | None:
    """What a rule gives one result; None where that is constant, or this form of the operation is unknown to it."""
    try:
        found = rule(call)
        labels = found[number] if isinstance(found, tuple) else found
        return None if labels is None else labels.expand(shape)
    except UNKNOWN_FORM:
        return None


def zeros_for(value: Tensor) -> Tensor:
    """The labels of a constant tensor."""
    return torch.zeros(value.shape, dtype=LABEL_DTYPE, device=value.device)


def latest(*labels: Tensor | None) -> Tensor | None:
    """Element-wise latest of labels that broadcast; None where all are constant."""
    found = None
    for each in labels:
        if each is not None:
            found = each if found is None else torch.maximum(found, each)
    return found


def without(labels: Tensor | None, where: Tensor | None) -> Tensor | None:
    """Labels with constants put in where the condition, which broadcasts, holds."""
    if labels is None or where is None:
        return labels
    return torch.where(where.to(labels.device), 0, labels)
