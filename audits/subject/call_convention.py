"""How a model is called: its input by position or by name, and the well-known arguments that it requires.

Axes: B (rows), N (tokens).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from audits.subject.packing import BUILDERS, Packing

# Names that mean one kind of input and nothing else: x and idx may be anything.
INPUTS = {"tokens": ("input_ids", "tokens"), "features": ("inputs_embeds", "hidden_states")}
Builder = Callable[[Tensor, int], Any]  # (inputs [B, N, ...], positions streamed before them) -> argument


def _positions(inputs: Tensor, past: int) -> Tensor:
    """Positions int64 [N]."""
    return torch.arange(past, past + inputs.shape[1], device=inputs.device)


def _as_one_document(build: Callable[[Packing, Tensor], Any]) -> Builder:
    return lambda inputs, _: build(Packing((inputs.shape[1],)), inputs)


NONE = ("past_key_values", "past_key_value", "cache_params", "inference_params", "labels")
WELL_KNOWN: dict[str, Builder] = {
    **{name: _as_one_document(build) for name, build in BUILDERS.items()},
    "attention_mask": lambda inputs, past: torch.ones(
        len(inputs), past + inputs.shape[1], dtype=torch.int64, device=inputs.device
    ),
    "token_type_ids": lambda inputs, _: torch.zeros(inputs.shape[:2], dtype=torch.int64, device=inputs.device),
    "position_ids": lambda inputs, past: _positions(inputs, past).expand(len(inputs), -1).contiguous(),
    "cache_position": _positions,
    **dict.fromkeys(NONE, lambda *_: None),
}


@dataclass(frozen=True)
class CallConvention:
    """How one model is called.

    Attributes:
        input_name: the parameter that takes the inputs, where they are not simply the first argument.
        required: names of well-known parameters without a default.
        keywords: all parameters that can be given by name.
        any_keyword: it takes any further keyword (**kwargs), whether it uses it or not.
        unsupported: a required parameter for which no value is known.
        always: makes further arguments of every call from its inputs, and `past` as below.
    """

    input_name: str | None = None
    required: tuple[str, ...] = ()
    keywords: frozenset[str] = frozenset()
    any_keyword: bool = False
    unsupported: str | None = None
    always: Callable[..., dict[str, Any]] | None = None

    def __call__(self, model: Any, inputs: Tensor, extra_kwargs: Mapping[str, Any] | None = None, past: int = 0) -> Any:
        """The model's output on inputs [B, N, ...].

        Args:
            model: the model, or a copy of it.
            inputs: its inputs.
            extra_kwargs: further arguments; they take precedence over the well-known ones.
            past: how many positions its cache holds already.
        """
        extra_kwargs = {**(self.always(inputs, past=past) if self.always else {}), **(extra_kwargs or {})}
        kwargs = {name: WELL_KNOWN[name](inputs, past) for name in self.required if name not in extra_kwargs}
        kwargs |= extra_kwargs
        return model(inputs, **kwargs) if self.input_name is None else model(**{self.input_name: inputs}, **kwargs)

    def accepts(self, name: str) -> bool:
        """Whether the model can be called with this argument."""
        return name in self.keywords or self.any_keyword


def call_convention(model: Any, kind: str) -> CallConvention:
    """How a model of "tokens" or "features" is called, read from its signature."""
    try:
        parameters = list(signature(model).parameters.values())
    except (TypeError, ValueError):  # built-in functions have none
        return CallConvention()
    fixed = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    input_name = _input_name(fixed, kind)
    taken = input_name or (fixed[0].name if fixed and fixed[0].kind != inspect.Parameter.KEYWORD_ONLY else None)
    required = [p.name for p in fixed if p.default is p.empty and p.name != taken]
    return CallConvention(
        input_name,
        tuple(name for name in required if name in WELL_KNOWN),
        frozenset(p.name for p in fixed if p.kind != p.POSITIONAL_ONLY and p.name != taken),
        any(p.kind == p.VAR_KEYWORD for p in parameters),
        next((name for name in required if name not in WELL_KNOWN), None),
    )


def signature(model: Any) -> inspect.Signature:
    """The arguments of a model: those it declares itself, else those of its forward.

    Raises:
        TypeError, ValueError: it has none, as a built-in function.
    """
    return inspect.signature(
        model if "__signature__" in getattr(model, "__dict__", {}) else getattr(model, "forward", model)
    )


def _input_name(fixed: list[inspect.Parameter], kind: str) -> str | None:
    """The input's name, where the first parameter is something else: another kind of input, a mask, a keyword."""
    if not fixed:
        return None
    first, others = fixed[0], {name for names in INPUTS.values() for name in names} - set(INPUTS[kind])
    if first.name not in {*WELL_KNOWN, *others} and first.kind != first.KEYWORD_ONLY:
        return None
    return next((p.name for p in fixed if p.name in INPUTS[kind]), None)
