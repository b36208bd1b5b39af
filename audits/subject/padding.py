"""Padding masks: the arguments that take one, and a subject that is given one in every call.

Axes: B (rows), N (tokens).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from audits.subject.contract import PADDING
from audits.subject.subject import Subject

UNAMBIGUOUS = (
    "attention_mask",
    "decoder_attention_mask",
    "key_padding_mask",
    "src_key_padding_mask",
    "padding_mask",
    "pad_mask",
)
ARGUMENTS = (*UNAMBIGUOUS, "mask")  # a plain mask may mark anything


@dataclass(frozen=True)
class Padding:
    """Which positions of every row are padding; called with inputs [B, N, ...], it gives the argument that says so.

    Attributes:
        name: of the argument.
        real: what marks a real token; 1 - real marks padding.
        dtype: of the mask.
        left: how many positions at the left are padding.
        right: how many at the right.
        positions: whether `position_ids` that count the real tokens go with the mask, as in generation.
    """

    name: str
    real: int
    dtype: torch.dtype
    left: int = 0
    right: int = 0
    positions: bool = False

    def __str__(self) -> str:
        sides = [f"{n} padded at the {side}" for side, n in (("left", self.left), ("right", self.right)) if n]
        return " and ".join(sides) or "no padding"

    def __call__(self, inputs: Tensor, dtype: torch.dtype | None = None, past: int = 0) -> dict[str, Any]:  # noqa: ARG002
        """The mask [B, past + N], by the argument's name; `past` positions were fed before."""
        real = self._real(past + inputs.shape[1], inputs)
        mask = {self.name: (real == bool(self.real)).to(self.dtype)}
        return mask | ({"position_ids": (real.cumsum(1) - 1).clamp(0)[:, past:]} if self.positions else {})

    def is_real(self, inputs: Tensor) -> Tensor:
        """Which positions hold real tokens, bool [B, N]."""
        return self._real(inputs.shape[1], inputs)

    def _real(self, length: int, inputs: Tensor) -> Tensor:
        position = torch.arange(length, device=inputs.device)
        return ((position >= self.left) & (position < length - self.right)).expand(inputs.shape[0], -1)


def told(subject: Subject) -> tuple[str, ...]:
    """The arguments that the contract calls padding masks."""
    roles = subject.settings.contract.roles() if subject.settings.contract is not None else {}
    return tuple(name for name, role in roles.items() if role.role == PADDING)


def candidates(name: str, *, told: bool = False) -> list[Padding]:
    """The masks without padding that an argument may take: 1 is real in Hugging Face, False in torch; if told, 1."""
    dtypes = (torch.int64, torch.bool) if name.endswith("attention_mask") else (torch.bool, torch.int64)
    return [Padding(name, real, dtype) for real in ((1,) if told else (1, 0)) for dtype in dtypes]


def padded(subject: Subject, padding: Padding) -> Subject:
    """The subject given a padding mask in every call; outputs at padding mean nothing and are zero."""
    return subject.variant(convention=replace(subject.convention, always=padding), real=padding.is_real)
