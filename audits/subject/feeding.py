"""How a model is handed its inputs: by place or by name, with the well-known arguments it requires beside them.

Axes: B (rows), N (tokens).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from audits.subject.packing import CLAIMS, COMPANIONS, Packing

# Names that mean one kind of input and nothing else: x and idx may be anything.
INPUTS = {"tokens": ("input_ids", "tokens"), "features": ("inputs_embeds", "hidden_states")}
Made = Callable[[Tensor, int], Any]  # (inputs [B, N, ...], positions streamed before them) -> argument


def _ones(inputs: Tensor, past: int) -> Tensor:
    """Nothing is padding: int64 [B, past + N]."""
    return torch.ones(len(inputs), past + inputs.shape[1], dtype=torch.int64, device=inputs.device)


def _zeros(inputs: Tensor, past: int) -> Tensor:  # noqa: ARG001 - the interface of an argument
    return torch.zeros(inputs.shape[:2], dtype=torch.int64, device=inputs.device)


def _counted(inputs: Tensor, past: int) -> Tensor:
    """Positions int64 [N]."""
    return torch.arange(past, past + inputs.shape[1], device=inputs.device)


def _absent(inputs: Tensor, past: int) -> None:  # noqa: ARG001 - the interface of an argument
    return None


def _as_one_document(name: str) -> Made:
    argument = {**CLAIMS, **COMPANIONS}[name]
    return lambda inputs, past: argument(Packing((inputs.shape[1],)), inputs)  # noqa: ARG005 - documents do not stream


WELL_KNOWN: dict[str, Made] = {
    "attention_mask": _ones,
    "token_type_ids": _zeros,
    "position_ids": lambda inputs, past: _counted(inputs, past).expand(len(inputs), -1).contiguous(),
    "cache_position": _counted,
    **dict.fromkeys(("past_key_values", "past_key_value", "cache_params", "inference_params", "labels"), _absent),
    **{name: _as_one_document(name) for name in (*CLAIMS, *COMPANIONS)},
}


@dataclass(frozen=True)
class Feeding:
    """How one model is called.

    Attributes:
        by_name: the parameter that takes the inputs, where they are not simply the first argument.
        required: names of well-known parameters without a default.
        named: all parameters that can be given by name.
        open_ended: it takes any further keyword (**kwargs), which says nothing about what it does with them.
        unknown: a required parameter that nobody can guess.
    """

    by_name: str | None = None
    required: tuple[str, ...] = ()
    named: frozenset[str] = frozenset()
    open_ended: bool = False
    unknown: str | None = None

    def __call__(self, model: Any, inputs: Tensor, more: Mapping[str, Any] | None = None, past: int = 0) -> Any:
        """The model's output on inputs [B, N, ...].

        Args:
            model: it, or a copy of it.
            inputs: what it is fed.
            more: further arguments, before which the well-known ones stand back.
            past: how many positions its cache holds already.
        """
        beside = {name: WELL_KNOWN[name](inputs, past) for name in self.required if name not in (more or {})}
        beside |= more or {}
        return model(inputs, **beside) if self.by_name is None else model(**{self.by_name: inputs}, **beside)

    def accepts(self, name: str) -> bool:
        """Whether the model can be called with this argument."""
        return name in self.named or self.open_ended


def feeding_of(model: Any, kind: str) -> Feeding:
    """How a model of "tokens" or "features" is called, read from its signature."""
    try:
        parameters = list(inspect.signature(getattr(model, "forward", model)).parameters.values())
    except (TypeError, ValueError):  # built-in functions show none
        return Feeding()
    fixed = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    by_name = _input_among(fixed, kind)
    ours = by_name or (fixed[0].name if fixed and fixed[0].kind != inspect.Parameter.KEYWORD_ONLY else None)
    required = [p.name for p in fixed if p.default is p.empty and p.name != ours]
    return Feeding(
        by_name,
        tuple(name for name in required if name in WELL_KNOWN),
        frozenset(p.name for p in fixed if p.kind != p.POSITIONAL_ONLY and p.name != ours),
        any(p.kind == p.VAR_KEYWORD for p in parameters),
        next((name for name in required if name not in WELL_KNOWN), None),
    )


def _input_among(fixed: list[inspect.Parameter], kind: str) -> str | None:
    """The input's name, where what stands first is something else: another kind of input, a mask, a keyword."""
    if not fixed:
        return None
    first, others = fixed[0], {name for names in INPUTS.values() for name in names} - set(INPUTS[kind])
    if first.name not in {*WELL_KNOWN, *others} and first.kind != first.KEYWORD_ONLY:
        return None
    return next((p.name for p in fixed if p.name in INPUTS[kind]), None)
