"""A model under a contract as it is decoded: positions are the slots themselves, so that it can be fed in pieces.

Under clocks of its own a piece need not return the outputs of its own slots: under a look-ahead they are due later.
When an output may be returned is read from the contract's clocks.

Axes: n (slots of an argument), S (slots of the output), L (positions).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from audits.subject.call_convention import call_convention
from audits.subject.contract import PAST
from audits.subject.contracted import Plan, contracted, raster
from audits.subject.layout import Clocks
from audits.subject.outputs import MAIN
from audits.subject.prepare import in_dtype
from audits.subject.settings import SubjectError
from audits.subject.subject import Subject


@dataclass(frozen=True)
class Decoding:
    """What is decoded.

    Attributes:
        subject: the model on positions of as many slots as have outputs of their own.
        needed: int64 [L]: how many positions hold all that an output may depend on; more than L where some come later.
    """

    subject: Subject
    needed: Tensor

    @property
    def length(self) -> int:
        """L."""
        return len(self.needed)

    def pieces(self, sizes: list[int]) -> list[int]:
        """The sizes, with a first piece that holds what the first output may depend on (a prefix)."""
        first, left = min(max(1, int(self.needed[0])), self.length), list(sizes)
        while left[0] < first:
            left[:2] = [left[0] + left[1]]
        return left

    def is_early(self, fed: Tensor) -> Tensor:
        """Which outputs bool [L] were returned too early, when so many positions int64 [L] had been fed."""
        return fed < self.needed.clamp(max=self.length)


def decoding(subject: Subject) -> Decoding:
    """The subject with the main output alone, on its own slots.

    Raises:
        SubjectError: no piece of its slots has outputs of its own.
    """
    subject = subject.variant(outputs=(MAIN,))  # a stream may return that one alone
    plan: Plan | None = subject.plan
    if plan is None or plan.is_plain:
        return Decoding(subject, torch.arange(subject.settings.seq_len) + 1)
    slots, outputs = plan.clocks.slots, plan.clocks.outputs
    together = _together(plan)
    many = max(1, round(outputs * together / slots))  # outputs of so many slots
    length = min(outputs // many * subject.settings.seq_len // plan.clocks.length, slots // together)
    if length < 2:
        raise SubjectError(f"all {slots} slots are fed in one piece: nothing can be decoded")
    contract = replace(
        plan.contract,
        lookahead=0,
        strict=False,
        prefix=0,
        hop=1,
        available={},
        due=lambda output: (output // many + 1) * together - 1,
    )
    clocks = Clocks(contract, dict.fromkeys(plan.clocks.roles, PAST), slots, outputs)
    made = replace(plan, clocks=clocks, decoded=True)
    settings = replace(made.fed(subject.settings), seq_len=length)
    model = contracted(subject.model.model, made)
    other = subject.variant(
        model=model,
        module=None if subject.module is None else model,
        original=contracted(subject.original.model, made),  # type: ignore[attr-defined] # a model under a contract
        settings=settings,
        convention=call_convention(model, settings.input),
    )
    other.in_dtype = partial(in_dtype, other)
    return Decoding(other, _needed(plan, together, many)[:length])


def _together(plan: Plan) -> int:
    """Slots that are fed together: a line of a raster, or those of an output."""
    if len(plan.contract.input_axes) > 1:
        return raster(plan.clocks.slots)
    return plan.contract.hop if plan.contract.hop > 1 else max(1, plan.clocks.slots // plan.clocks.outputs)


def _needed(plan: Plan, together: int, many: int) -> Tensor:
    """How many positions hold what each may depend on, int64 [L]; one more than there are where some comes later."""
    due, available = plan.clocks.times(plan.clocks.slots)
    due = due.double()
    needed = torch.zeros_like(due, dtype=torch.int64)
    for times in available.values():
        # The earliest time from each slot on: slots need not become available in their order.
        from_here = times.double().flip(0).cummin(0).values.flip(0).contiguous()
        needed = needed.maximum(torch.searchsorted(from_here, due, right=True))
    last = torch.stack([times.double().max() for times in available.values()]).max()
    positions = (-(-needed // together)).where(due <= last, plan.clocks.slots + 1)
    whole = len(positions) // many * many
    return positions[:whole].view(-1, many).amax(1)
