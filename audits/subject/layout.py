"""A contract's two clocks as one axis of positions, so that "later" means the same for every argument and output.

Position p holds the outputs due at the p-th due time, and the slots that become available since the one before.
On this axis every contract is the default one: an output may depend on slots of its own and earlier positions alone.
Slots available after the last due time have a last position of their own, without outputs.

Axes: n (slots of an argument), S (slots of the output), L (positions).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from torch import Tensor

from audits.subject.contract import Contract
from audits.subject.settings import SubjectError

LONGEST = 2**16  # slots that are tried for a longer sequence


@dataclass(frozen=True)
class Layout:
    """Where slots stand on the axis of positions.

    Attributes:
        slots: n, of every varied argument.
        index: by argument, [n]: position * capacity + place within it; -1 for slots that no position holds.
        outputs: [S]: position of each slot of the output; -1 for those due later than all positions.
        places: [S]: its place among those of its position.
    """

    slots: int
    index: Mapping[str, Tensor]
    outputs: Tensor
    places: Tensor


@dataclass(frozen=True, eq=False)
class Clocks:
    """The clocks of one model under a contract.

    Attributes:
        contract: the contract.
        roles: of the varied arguments, by name: past or before.
        slots: n at the audit's length.
        outputs: S at that length.
    """

    contract: Contract
    roles: Mapping[str, str]
    slots: int
    outputs: int

    def times(self, slots: int) -> tuple[Tensor, dict[str, Tensor]]:
        """When the outputs [S] of so many slots are due, and when the slots [n] of each argument are available."""
        outputs = max(1, self.outputs * slots // self.slots)
        due = self.contract.times_due(torch.arange(outputs), samples=self.outputs == self.slots)
        given = torch.arange(slots)
        return due, {name: self.contract.times_available(name, role, given) for name, role in self.roles.items()}

    def positions(self, slots: int) -> tuple[Tensor, dict[str, Tensor], int]:
        """The positions of the outputs [S] and of each argument's slots [n], and how many positions there are."""
        due, available = self.times(slots)
        times, outputs = due.unique(return_inverse=True)
        found = {name: torch.searchsorted(times, each.to(times.dtype)) for name, each in available.items()}
        beyond = any(bool((each == len(times)).any()) for each in found.values())
        return outputs, found, len(times) + beyond

    @cached_property
    def length(self) -> int:
        """How many positions there are at the audit's length."""
        return self.positions(self.slots)[2]

    @cached_property
    def capacity(self) -> int:
        """How many slots of an argument a position holds at most; the first one holds its last so many alone."""
        counts = (torch.bincount(each)[1:] for each in self.positions(self.slots)[1].values())
        return max(1, *(int(count.max()) for count in counts if len(count)), 1)

    @cached_property
    def due_together(self) -> int:
        """How many outputs a position holds at most."""
        return int(torch.bincount(self.positions(self.slots)[0]).max())

    def check(self) -> None:
        """Raise SubjectError where nothing could be judged."""
        outputs, found, _ = self.positions(self.slots)
        if all(bool((each == 0).all()) for each in found.values()):
            raise SubjectError("every input is available before the first output is due, so nothing could leak")
        if all(bool((each > outputs.max()).all()) for each in found.values()):
            raise SubjectError("no input is available before the last output is due: no output may depend on anything")


@lru_cache(maxsize=256)
def layout(clocks: Clocks, length: int) -> Layout:
    """The layout of the first L positions.

    Raises:
        ValueError: the clocks have no so many positions.
    """
    slots = clocks.slots
    while clocks.positions(slots)[2] < length:
        slots *= 2
        if slots > LONGEST:
            raise ValueError(f"the clocks have no {length} positions")
    outputs, found, whole = clocks.positions(slots)
    if length < whole:  # as few slots as these positions need
        last = max((int(where.max()) for each in found.values() if len(where := (each < length).nonzero())), default=0)
        needed = int((outputs < length).nonzero().max()) + 1
        slots = min(slots, max(last + 1, math.ceil(needed * slots / len(outputs))))
    outputs = outputs[: max(1, clocks.outputs * slots // clocks.slots)]
    capacity = clocks.capacity
    index = {}
    for name, positions in found.items():
        own = positions[:slots]
        place = _places(own)
        place = place - (own == 0) * max(0, int((own == 0).sum()) - capacity)  # the last ones of the first position
        index[name] = (own * capacity + place).where((own < length) & (place >= 0), -1)
    return Layout(slots, index, outputs.where(outputs < length, -1), _places(outputs))


def _places(positions: Tensor) -> Tensor:
    """For each slot, how many before it have its position."""
    order = positions.argsort(stable=True)
    counts = torch.bincount(positions)
    first = counts.cumsum(0) - counts
    places = torch.empty_like(positions)
    places[order] = torch.arange(len(positions)) - first[positions[order]]
    return places
