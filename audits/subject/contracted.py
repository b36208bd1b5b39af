"""A model under a contract, as a model whose output at a position may depend on inputs up to that position alone.

Probes and tracing see one input on one axis of positions (`layout`); the arguments are made of it, and the outputs are
put onto it, inside the call.

Axes: B (rows), L (positions), n (slots), E (numbers a slot), S (slots of the output), F (features of it).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn

from audits.subject.arguments import Argument
from audits.subject.call_convention import WELL_KNOWN
from audits.subject.contract import FREE, PADDING, PAST, SLOTTED, Contract
from audits.subject.embedding import EmbeddingTap
from audits.subject.layout import Clocks, Layout, layout
from audits.subject.outputs import MAIN, NAMES, at_path, further_outputs, main_tensor, named, numbers
from audits.subject.packing import DOCUMENT_ARGUMENTS
from audits.subject.padding import ARGUMENTS
from audits.subject.settings import Settings, SubjectError
from audits.subject.streaming import CACHES, OTHERS, SWITCHES, Piece
from audits.subject.subject import own_dtype

UNCLOCKED = {"inputs", "output", "stream", "cache"}  # what of a contract changes no time and no axis


@dataclass(frozen=True, eq=False)
class Plan:
    """How a model is called under a contract, and how its outputs are read.

    Attributes:
        clocks: of the varied arguments and the output.
        varied: the arguments that audits change.
        others: those that stay as they are.
        parameters: of the model.
        settings: in the terms of the model's own input.
        decoded: whether it is continued piece by piece (`decoding`).
        change: of the values [B, n, ...] of a varied argument, by its name, before the model is given them.
    """

    clocks: Clocks
    varied: tuple[Argument, ...]
    others: tuple[Argument, ...]
    parameters: tuple[inspect.Parameter, ...]
    settings: Settings
    decoded: bool = False
    change: Callable[[str, Tensor], Tensor] = lambda _, values: values

    def __deepcopy__(self, memo: dict[int, Any]) -> Plan:
        """Nothing of it changes."""
        return self

    @property
    def contract(self) -> Contract:
        """The contract that the clocks are of."""
        return self.clocks.contract

    @cached_property
    def sizes(self) -> list[int]:
        """Features a position of each varied argument; the one input that probes see has them side by side."""
        return [self.clocks.capacity * argument.numbers for argument in self.varied]

    @cached_property
    def tokens(self) -> bool:
        """Whether the one varied argument is fed token ids as they are."""
        return [argument.kind for argument in self.varied] == ["tokens"] and self.clocks.capacity == 1

    def asked(self, settings: Settings) -> Settings:
        """The settings of a subject in the terms of the model's own input."""
        own = {name: getattr(self.settings, name) for name in ("input", "vocab_size", "width", "seq_len")}
        return replace(settings, **own)

    def fed(self, settings: Settings) -> Settings:
        """The settings in the terms of the one input that probes see."""
        tokens, width = (self.varied[0].size[0], None) if self.tokens else (None, sum(self.sizes))
        return replace(settings, input="tokens" if self.tokens else "features", width=width, vocab_size=tokens)

    @property
    def is_discrete(self) -> bool:
        """Whether some argument is made of numbers in steps, so that no derivative shows what depends on it."""
        return not self.tokens and any(argument.kind != "features" for argument in self.varied)

    @cached_property
    def is_plain(self) -> bool:
        """Whether positions are the slots of the one varied argument, so that whatever else goes with them fits."""
        return [argument.role for argument in self.varied] == [PAST] and self.contract.said().keys() <= UNCLOCKED

    def __call__(self, model: Any, inputs: Tensor | Piece, kwargs: Mapping[str, Any]) -> Any:
        """What the model returns for inputs [B, L] or [B, L, E], or a piece of them, on the axis of positions."""
        if isinstance(inputs, Piece):
            output = self.call(model, self.part(model, inputs), kwargs)
            plain = self.is_plain and self.contract.output is None
            return output if plain else {NAMES[0]: self._ready(output)} | self._kept(output)
        found = layout(self.clocks, inputs.shape[1])
        output = self.call(model, self.arguments(model, inputs, found), kwargs)
        if self.is_plain and self.contract.output is None:
            return output
        return self._on_positions(output, found, len(inputs), inputs.shape[1])

    def part(self, model: Any, piece: Piece) -> dict[str, Tensor]:
        """The arguments of the model for a piece, by name."""
        found = layout(self.clocks, piece.whole.shape[1])
        together = found.slots // piece.whole.shape[1]
        return self.arguments(model, piece.whole, found, slice(piece.start * together, piece.stop * together))

    def arguments(self, model: Any, inputs: Tensor, found: Layout, part: slice = slice(None)) -> dict[str, Tensor]:
        """The arguments of the model by name; of those that have the sequence's slots, a part of them."""
        dtype = inputs.dtype if inputs.is_floating_point() else _floating(model)
        parts = zip(self.varied, self._parts(inputs), strict=True)
        given = {
            a.name: self._placed(a, self.change(a.name, self._values(a, own, found, dtype)[:, part]))
            for a, own in parts
        }
        others = {a.name: self.fixed(a, found.slots, model, inputs.device, part) for a in self.others}
        return given | {name: value.expand(len(inputs), *value.shape[1:]) for name, value in others.items()}

    def _parts(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """What of the inputs [B, L, ...] each varied argument is made of."""
        return torch.split(inputs, self.sizes, -1) if len(self.varied) > 1 else (inputs,)

    def _values(self, argument: Argument, own: Tensor, found: Layout, dtype: torch.dtype) -> Tensor:
        """A varied argument [B, n, ...], from what it is made of."""
        index = found.index[argument.name]
        filler = partial(argument.fixed, len(index), self.settings.seed, own.device)
        if self.tokens:
            return _at(own, index, lambda: argument.values(filler(), dtype))
        own = own.reshape(len(own), -1, argument.numbers) if self.clocks.capacity > 1 else own
        return argument.values(_at(own, index, filler), dtype)

    def tapped(self, tokens: Tensor, change: Callable[[Tensor], Tensor]) -> EmbeddingTap:
        """A tap of the rows looked up for tokens [B, L], which are put on the axis of positions and back."""
        found = layout(self.clocks, tokens.shape[1])
        (index,) = found.index.values()
        slots = (index >= 0).nonzero()[:, 0].to(tokens.device)
        positions = index.to(tokens.device)[slots]

        def changed(rows: Tensor) -> Tensor:
            whole = rows.new_zeros(*tokens.shape, rows.shape[-1])
            whole = change(whole.index_copy(1, positions, rows.index_select(1, slots)))
            return rows.index_copy(1, slots, whole.index_select(1, positions))

        return EmbeddingTap(self._values(self.varied[0], tokens, found, torch.float64), changed)

    def fixed(
        self, argument: Argument, slots: int, model: Any, device: torch.device, part: slice = slice(None)
    ) -> Tensor:
        """What an argument [1, n, ...] holds where nothing varies it; `part` of that which has the sequence's slots."""
        normal = argument.fixed(argument.slots or slots, self.settings.seed, device)
        values = argument.values(normal, _floating(model))
        return self._placed(argument, values[:, part] if argument.timed and argument.slots is None else values)

    def call(self, model: Any, given: dict[str, Tensor], kwargs: Mapping[str, Any]) -> Any:
        """What the model returns for its arguments."""
        unnamed = [p.name for p in self.parameters if p.kind == p.POSITIONAL_ONLY and p.name in given]
        required = [p.name for p in self.parameters if p.default is p.empty and p.name not in {*given, *kwargs}]
        first = given[self.varied[0].name]
        known = {name: WELL_KNOWN[name](first, 0) for name in required if name in WELL_KNOWN}
        by_name = {name: value for name, value in given.items() if name not in unnamed}
        return model(*(given[name] for name in unnamed), **by_name, **known, **kwargs)

    def slots_at(self, length: int, position: int) -> dict[str, int]:
        """The first slot of each varied argument that becomes available at a position of so many, by name."""
        index, capacity = layout(self.clocks, length).index, self.clocks.capacity
        found = {name: ((each >= 0) & (each // capacity == position)).nonzero() for name, each in index.items()}
        return {name: int(at[0]) for name, at in found.items() if len(at)}

    def output_at(self, length: int, position: int) -> int | None:
        """The first slot of the output that is due at a position of so many; None where none is."""
        due = (layout(self.clocks, length).outputs == position).nonzero()
        return int(due[0]) if len(due) else None

    def input_named(self, length: int, position: int) -> str:
        """The slots that become available at a position of so many, and when; empty where none does or all is plain."""
        if self.is_plain:
            return ""
        _, available = self.clocks.times(self.clocks.slots)
        slots = self.slots_at(length, position).items()
        return ", ".join(f"{name} {slot} (available at {float(available[name][slot]):g})" for name, slot in slots)

    def output_named(self, length: int, position: int) -> str:
        """The slot of the output that is due at a position of so many, and when; empty likewise."""
        if self.is_plain:
            return ""
        output, (due, _) = self.output_at(length, position), self.clocks.times(self.clocks.slots)
        return "" if output is None else f"slot {output} (due at {float(due[output]):g})"

    def only(self, name: str, base: Tensor, changed: Tensor) -> Tensor:
        """Inputs [R, L, ...] that differ from the base in one argument alone."""
        parts = zip(self.varied, self._parts(base), self._parts(changed), strict=True)
        chosen = [after if argument.name == name else before for argument, before, after in parts]
        return torch.cat(chosen, -1) if len(chosen) > 1 else changed

    def clocks_of(self, name: str, slot: int, output: int) -> str:
        """When a slot of an argument is available, and when an output is due."""
        due, available = self.clocks.times(self.clocks.slots)
        at, due_at = float(available[name][slot]), float(due[output])
        return f"{name} {slot} is available at {at:g}, output {output} is due at {due_at:g}"

    def _placed(self, argument: Argument, values: Tensor) -> Tensor:
        """Values [B, n, ...] with the slots on the contract's axis, or as the pixels of its two axes."""
        if not argument.timed or argument.role not in SLOTTED:
            return values
        first, *second = self.contract.input_axes
        if 1 != first < values.ndim:
            values = values.movedim(1, first)
        if not second:
            return values
        columns = raster(self.clocks.slots)
        lines, rest = divmod(values.shape[first], columns)
        if rest:
            raise ValueError(f"{values.shape[first]} pixels are no whole lines of {columns}")
        placed: Tensor = values.unflatten(first, (lines, columns))
        return placed

    def slots_of(self, tensor: Tensor) -> Tensor:
        """An output with its slots on axis 1, [B, S, ...]; one that has no such axis as it is."""
        first, last = self.contract.output_axes[0], self.contract.output_axes[-1]
        return tensor.flatten(first, last).movedim(first, 1) if tensor.ndim > last else tensor

    def outputs_of(self, output: Any) -> dict[str, Tensor]:
        """The judged tensors [B, S, ...] of what the model returned, by name."""
        output = output if self.contract.output is None else at_path(output, self.contract.output)
        main = main_tensor(output)
        if main.ndim <= max(self.contract.output_axes):
            shape, axis = list(main.shape), self.contract.output_axis
            raise SubjectError(f"the output has shape {shape}, so no axis {axis}: give its --output-axis")
        main = self.slots_of(main)
        return {MAIN: main} | further_outputs(output, main, self.slots_of)

    def _on_positions(self, output: Any, found: Layout, rows: int, length: int) -> dict[str, Any]:
        tensors = self.outputs_of(output)
        expected = (rows, len(found.outputs))
        if tensors[MAIN].shape[:2] != expected:
            shape = list(tensors[MAIN].shape[:2])
            raise SubjectError(f"the output has {shape} rows and slots where {list(expected)} were expected")
        placed = {name or NAMES[0]: self._put(tensor, found, length) for name, tensor in tensors.items()}
        return placed | self._kept(output)

    def _ready(self, output: Any) -> Tensor:
        """The main output [B, S, ...] of a piece on as many positions as it fills, [B, S / outputs of one, F]."""
        tensor, together = numbers(self.outputs_of(output)[MAIN]), self.clocks.due_together
        if tensor.shape[1] % together:
            raise SubjectError(f"a piece returned {tensor.shape[1]} outputs, not a multiple of {together}")
        return tensor.reshape(len(tensor), -1, together * tensor.shape[-1])

    def _kept(self, output: Any) -> dict[str, Any]:
        """The caches in what a call returned, by name; that which the contract names by its path."""
        kept = {name: value for name in (*CACHES, *OTHERS) if (value := named(output, name)) is not None}
        _, path = self.contract.cache_names
        with suppress(SubjectError):
            return kept | ({path: at_path(output, path)} if path else {})
        return kept

    def _put(self, tensor: Tensor, found: Layout, length: int) -> Tensor:
        """An output [B, S, ...] on the positions, [B, L, F]; zero where none is due."""
        tensor = tensor.flatten(2) if tensor.ndim > 2 else tensor[..., None]
        kept = found.outputs >= 0
        index = found.outputs[kept].to(tensor.device)
        chosen = tensor if bool(kept.all()) else tensor.index_select(1, kept.nonzero()[:, 0].to(tensor.device))
        if len(index) == length and torch.equal(index, torch.arange(length, device=index.device)):
            return chosen
        most = self.clocks.due_together
        empty = tensor.new_zeros(len(tensor), length * most, tensor.shape[-1])
        return empty.index_copy(1, index * most + found.places[kept].to(index), chosen).reshape(len(tensor), length, -1)


class ContractedCallable:
    """A model under a contract; nothing of a plain callable can be copied or cast."""

    def __init__(self, model: Any, plan: Plan) -> None:
        super().__init__()
        self.model, self.under_contract = model, plan
        self.config = getattr(model, "config", None)
        self.__signature__ = _signature(plan)

    def __call__(self, inputs: Tensor, **kwargs: Any) -> Any:
        """As the plan."""
        return self.under_contract(self.model, inputs, kwargs)


class Contracted(ContractedCallable, nn.Module):
    """A module under a contract."""


class Streams:
    """A model under a contract that says how it is continued, or which does so itself."""

    model: Any
    under_contract: Plan

    def stream(self, piece: Piece, state: Any = None) -> tuple[Any, Any]:
        """The outputs that are ready after a piece, and the state; the step is given one argument, or all by name."""
        stream = self.under_contract.contract.stream
        given: Any = self.under_contract.part(self.model, piece)
        if stream is None or len(given) == 1:
            given = given[self.under_contract.varied[0].name]
        output, state = stream.step(self.model, given, state) if stream else self.model.stream(given, state)
        return self.under_contract._ready(output), state


class StreamsCallable(Streams, ContractedCallable):
    """A callable that is continued so."""


class StreamsModule(Streams, Contracted):
    """A module that is continued so."""


def contracted(model: Any, plan: Plan) -> Any:
    """The model under a contract."""
    own = callable(getattr(model, "stream", None)) and len(plan.varied) == 1
    streams = (plan.is_plain or plan.decoded) and (plan.contract.stream is not None or own)
    if isinstance(model, nn.Module):
        return (StreamsModule if streams else Contracted)(model, plan)
    return (StreamsCallable if streams else ContractedCallable)(model, plan)


def _signature(plan: Plan) -> inspect.Signature:
    """The input, and what probes may give of the model's own parameters: caches, and masks of the varied argument."""
    first = inspect.Parameter("inputs", inspect.Parameter.POSITIONAL_ONLY)
    fed, roles = {argument.name for argument in (*plan.varied, *plan.others)}, plan.contract.roles()
    offered = {*CACHES, *OTHERS, *SWITCHES, "cache_position", plan.contract.cache_names[0]}
    if plan.is_plain:
        masks = {name for name, role in roles.items() if role.role == PADDING} or set(ARGUMENTS)
        offered |= {*DOCUMENT_ARGUMENTS, *masks}
        # With an encoder's input, attention_mask may be the mask of that.
        if any(argument.role == FREE for argument in plan.others) and not set(roles) & masks:
            offered = offered - {"attention_mask", *masks} | {"decoder_attention_mask"}
    elif not plan.decoded:
        offered = set()
    kept = (p for p in plan.parameters if p.name in offered - fed)
    return inspect.Signature([first, *(p.replace(kind=p.KEYWORD_ONLY) for p in kept if p.kind != p.VAR_KEYWORD)])


def _at(values: Tensor, index: Tensor, filler: Callable[[], Tensor]) -> Tensor:
    """Values [B, M, ...] at an index [n]; where it is -1, what the filler [1, n, ...] has for that slot."""
    if torch.equal(index, torch.arange(values.shape[1])):
        return values
    if bool((index < 0).any()):
        fixed = filler().to(values.dtype).expand(len(values), -1, *values.shape[2:])
        index = index.where(index >= 0, values.shape[1] + torch.arange(len(index)))
        values = torch.cat([values, fixed], dim=1)
    return values.index_select(1, index.to(values.device))


def raster(slots: int) -> int:
    """Pixels of a line of a raster of so many pixels, as square as possible."""
    return next(columns for columns in range(math.isqrt(slots), 0, -1) if slots % columns == 0)


def _floating(model: Any) -> torch.dtype:
    return own_dtype(model) or torch.get_default_dtype()
