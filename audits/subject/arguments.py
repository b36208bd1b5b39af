"""The arguments of a model under a contract: what each is fed, found from names, the configuration, and by trying.

Whatever an argument is, its values are made of standard normal numbers: one draw serves every kind.

Axes: B (rows), n (slots), E (numbers a slot).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from audits.subject.contract import FREE, HELD, SLOTTED, Role
from audits.subject.randomness import generator
from audits.subject.settings import Settings

BLOCK = 128  # slots that are drawn together, so that what a slot holds does not depend on how many there are
STEPS = 1024.0  # of a standard normal number that count for a token, so that every precision reads the same one
WIDTHS = 6  # of the widths that a model's layers take, tried for an argument of features; our choice
WIDTH_NAMES = ("in_features", "in_channels", "input_size")  # by which layers call it
GIVEN = "given"  # the kind of what the contract's own function draws
BANK = 16  # draws of it, of which a slot holds one; our choice
FLAGS = (torch.bool, torch.int64, None)  # dtypes of flags; None: that of features
FLAG_NAMES = ("mask", "done", "terminal", "termination", "reset", "flag", "is_", "episode", "valid")
CONFIGURED = {  # by a part of the argument's name: the configuration's attribute that holds its width
    "state": ("state_dim",),
    "action": ("act_dim", "action_dim"),
    "input_features": ("num_mel_bins", "feature_size"),
    "value": ("num_input_channels", "input_size", "prediction_channels"),
    "time_feature": ("num_time_features", "num_dynamic_real_features"),
}


@dataclass(frozen=True)
class Argument:
    """One argument and what it is fed.

    Attributes:
        name: of the argument.
        role: one of `contract.ROLES`.
        kind: one of `contract.KINDS`.
        size: the token ids of tokens; the axes behind the slots of features and flags.
        dtype: of flags.
        timed: whether it has an axis of slots.
        slots: how many, where that is not as many as those of the varied arguments.
        bank: what the contract's own function drew, [BANK, n, ...].
    """

    name: str
    role: str
    kind: str
    size: tuple[int, ...] = ()
    dtype: torch.dtype | None = None
    timed: bool = True
    slots: int | None = None
    bank: Tensor | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        return str(Role(self.role, self.kind, self.size))

    @property
    def varied(self) -> bool:
        """Whether audits change it."""
        return self.role in SLOTTED and self.kind != "positions"

    @property
    def numbers(self) -> int:
        """E: standard normal numbers that a slot is made of."""
        return 0 if self.kind == "positions" else math.prod(self.size) if self.kind in ("features", "flags") else 1

    def values(self, normal: Tensor, dtype: torch.dtype) -> Tensor:
        """The argument [B, n, *size] (tokens, positions and times [B, n]) from standard normal numbers [B, n, E].

        `dtype` is that of features.
        """
        rows, slots = normal.shape[:2]
        if self.kind == "positions":
            values = torch.arange(slots, device=normal.device).expand(rows, slots)
        elif self.kind == "tokens":
            values = tokens_of(normal[..., 0], self.size[0])
        elif self.bank is not None:
            if slots > self.bank.shape[1]:
                raise ValueError(f"{self.name} was drawn with {self.bank.shape[1]} slots, not {slots}")
            chosen = tokens_of(normal[..., 0], BANK)  # which draw each slot holds its value of
            values = self.bank.to(chosen.device)[chosen, torch.arange(slots, device=chosen.device)]
            values = values.to(dtype) if values.is_floating_point() else values
        elif self.kind == "times":
            values = nn.functional.softplus(normal[..., 0]).cumsum(1).to(dtype)
        else:
            values = normal.reshape(rows, slots, *self.size)
            values = (values > 0).to(self.dtype or dtype) if self.kind == "flags" else values.to(dtype)
        return values if self.timed else values[:, 0]

    def fixed(self, slots: int, seed: int, device: torch.device) -> Tensor:
        """Standard normal numbers [1, n, E] float64, the same for a slot however many there are."""
        blocks = -(-slots // BLOCK)
        drawn = [
            torch.randn(BLOCK, self.numbers, generator=generator(seed, self.name, block), dtype=torch.float64)
            for block in range(blocks)
        ]
        return torch.cat(drawn)[None, :slots].to(device)


def tokens_of(normal: Tensor, size: int) -> Tensor:
    """Token ids int64 of standard normal numbers, about equally often each."""
    coarse = (normal.double() * STEPS).round() / STEPS
    share = 0.5 * (1 + torch.erf(coarse / math.sqrt(2)))
    return (share * size).long().clamp(0, size - 1)


def candidates(name: str, role: Role, model: Any, settings: Settings) -> Iterator[Argument]:
    """What an argument may be, the likeliest first; one that the user described fully is nearly that alone."""
    timed = (False,) if role.whole else (True, False) if role.role in (FREE, HELD) else (True,)
    for kind in (role.kind,) if role.kind else _kinds(name, settings):
        for size in _sizes(name, kind, role.size, model, settings):
            for dtype in FLAGS if kind == "flags" else (None,):
                for has_slots in timed:
                    yield Argument(name, role.role, kind, size, dtype, has_slots)


def _kinds(name: str, settings: Settings) -> tuple[str, ...]:
    """The kinds that an argument's name suggests."""
    if any(part in name for part in FLAG_NAMES):
        return ("flags", "features")
    if "position" in name or name in ("timesteps", "timestep", "steps"):
        return ("positions",)
    if name in ("t", "ts", "time", "times", "timestamps"):
        return ("times", "features")
    tokens = name.endswith(("ids", "idx", "tokens", "labels")) or name.startswith("token")
    if tokens or (name in ("x", "input", "inputs") and settings.input == "tokens" and settings.width is None):
        return ("tokens", "features")
    return ("features", "tokens")


def _sizes(name: str, kind: str, given: tuple[int, ...], model: Any, settings: Settings) -> Iterator[tuple[int, ...]]:
    """The sizes to try."""
    if given or kind in ("positions", "times"):
        yield given
        if given == (1,) and kind == "features":  # a number a slot, with an axis of its own or without
            yield ()
    elif kind == "tokens":
        size = settings.vocab_size or vocabulary(model)
        if size is not None:
            yield (size,)
    else:
        widths = [0] * (kind == "flags") + list(_widths(name, model, settings))  # flags are one a slot, mostly
        yield from dict.fromkeys((size,) if size else () for size in widths)


def vocabulary(model: Any) -> int | None:
    """The number of token ids, from the model's configuration or its first embedding."""
    size = getattr(getattr(model, "config", None), "vocab_size", None)
    if not isinstance(size, int) and isinstance(model, nn.Module):
        size = next((m.num_embeddings for m in model.modules() if isinstance(m, nn.Embedding)), None)
    return size if isinstance(size, int) else None


def _widths(name: str, model: Any, settings: Settings) -> Iterator[int]:
    """Widths that an argument may have; 0 stands for none, a number a slot."""
    config = getattr(model, "config", None)
    named = (attribute for part, names in CONFIGURED.items() if part in name for attribute in names)
    yield from (w for attribute in named if isinstance(w := getattr(config, attribute, None), int))
    if settings.width:
        yield settings.width
    taken = widths_taken(model)
    own = [width for path, width in taken if name.rstrip("s") in path]
    yield from list(dict.fromkeys((*own, *(width for _, width in taken))))[:WIDTHS]
    yield from (1, 0)


def widths_taken(model: Any) -> list[tuple[str, int]]:
    """The names of a model's layers, each with the features that it takes."""
    found = model.named_modules() if isinstance(model, nn.Module) else ()
    named = ((path, getattr(module, name, None)) for path, module in found for name in WIDTH_NAMES)
    return [(path, width) for path, width in named if isinstance(width, int) and width]
