"""A contract: which output may depend on which input, as two clocks.

Every slot of every input has a time at which it becomes available, every slot of the output a time at which it is due.
An output that depends on a slot available after it is due is a leak. The default: slot t of the one input is available
at t, and output t is due at t. Nothing here imports torch before it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from audits.subject.settings import SubjectError

if TYPE_CHECKING:
    from torch import Tensor

PAST, BEFORE, FREE, HELD, PADDING = "past", "before", "free", "held", "padding"
SLOTTED = (PAST, BEFORE)  # those that have slots on the axis of time
ROLES = {
    PAST: "slot j is available at j",
    BEFORE: "slot j is available at j + 1: strictly before (targets, actions, responses)",
    FREE: "available from the beginning (an encoder's input, static covariates, known futures)",
    HELD: "the same in every call, never varied",
    PADDING: "a padding mask, 1 = real",
}
KINDS = ("tokens", "features", "flags", "positions", "times")
Clock = Callable[["Tensor"], "Tensor"]  # slot numbers int64 [n] -> times [n]
Inputs = Callable[[int, int, Any], Mapping[str, Any]]  # (batch, length, generator) -> arguments


@dataclass(frozen=True)
class Role:
    """What one argument is: its role, and its kind where the user gives it.

    Attributes:
        role: one of ROLES.
        kind: one of KINDS; None: read from the model.
        size: token ids of tokens, trailing axes of features and flags.
        whole: whether these are all axes after the rows, so that there is none of slots.
    """

    role: str
    kind: str | None = None
    size: tuple[int, ...] = ()
    whole: bool = False

    @classmethod
    def parse(cls, name: str, text: str) -> Role:
        """From `role`, `role:kind` or `role:kind:size`, as in "before:features:4" or "past:features:3x8".

        A size after "=", as in "free:features:=80x3000", is the whole shape of a row.

        Raises:
            SubjectError: it is none of these.
        """
        role, _, rest = text.partition(":")
        kind, _, size = rest.partition(":")
        if role not in ROLES:
            raise SubjectError(f"role of {name}: {role!r} is not one of {', '.join(ROLES)}")
        if kind and kind not in KINDS:
            raise SubjectError(f"role of {name}: kind {kind!r} is not one of {', '.join(KINDS)}")
        axes = size.removeprefix("=")
        if size and not all(part.isdecimal() and int(part) for part in axes.split("x")):
            raise SubjectError(f"role of {name}: size {size!r} must be like 4, 3x8 or =3x8")
        if axes != size and role in SLOTTED:
            raise SubjectError(f"role of {name}: what is {role} has slots, so that its size cannot be its whole shape")
        return cls(role, kind or None, tuple(map(int, axes.split("x"))) if size else (), axes != size)

    def __str__(self) -> str:
        size = "=" * self.whole + "x".join(map(str, self.size))
        return ":".join(part for part in (self.role, self.kind, size) if part)


@dataclass(frozen=True)
class Stream:
    """How a model is continued: `step(model, piece, state) -> (output, state)`; the state is None at first."""

    step: Callable[[Any, Any, Any], tuple[Any, Any]]


@dataclass(frozen=True)
class Contract:
    """The two clocks of a model, by shorthands or as functions.

    Attributes:
        lookahead: output t is due at t + lookahead.
        strict: output t is due at t - 1: the present is excluded.
        prefix: the first so many slots are available at 0 (prefix-LM).
        hop: output frame t is due at (t + 1) * hop - 1 (codecs, strides, patches).
        inputs: roles of the arguments by name, as `Role.parse` reads them; or a function (batch, length, generator)
            that returns the arguments: tensors with the length on the input axis are past, all else is held.
        output: which of what the model returns, keys, attributes and indices joined by dots; None: every tensor.
        input_axis: where time lies in the inputs that have one: an axis, or two of a raster.
        output_axis: the same of the output.
        available: by argument, the time at which each slot is available.
        due: the time at which each slot of the output is due.
        stream: how the model is continued, where it does not say so itself.
        cache: the argument that takes the cache, or "argument=name of the returned one".
    """

    lookahead: int = 0
    strict: bool = False
    prefix: int = 0
    hop: int = 1
    inputs: Mapping[str, str] | Inputs = field(default_factory=dict)
    output: str | None = None
    input_axis: int | tuple[int, int] = 1
    output_axis: int | tuple[int, int] = 1
    available: Mapping[str, Clock] = field(default_factory=dict)
    due: Clock | None = None
    stream: Stream | None = None
    cache: str | None = None

    def __post_init__(self) -> None:
        """Raise SubjectError where the contract cannot hold whatever the model."""
        for name in ("lookahead", "prefix"):
            if not isinstance(value := getattr(self, name), int) or value < 0:
                raise SubjectError(f"{name} must be a whole number of at least 0, not {value!r}")
        if not isinstance(self.hop, int) or self.hop < 1:
            raise SubjectError(f"hop must be a whole number of at least 1, not {self.hop!r}")
        if self.strict and self.lookahead:
            raise SubjectError(f"strict excludes the present, lookahead={self.lookahead} allows the future: give one")
        if self.due is not None and (self.strict or self.lookahead or self.hop > 1):
            raise SubjectError("due says when outputs are due: give it without lookahead, strict and hop")
        self.roles()  # which must be readable

    def __repr__(self) -> str:
        """The call that makes it, without what is default."""
        return f"Contract({', '.join(f'{name}={_named(value)!r}' for name, value in self.said().items())})"

    def said(self) -> dict[str, Any]:
        """What it says besides the default."""
        default = {each.name: {} if each.default is MISSING else each.default for each in fields(self)}
        return {name: getattr(self, name) for name in default if getattr(self, name) != default[name]}

    def roles(self) -> dict[str, Role]:
        """The roles that were given, by argument."""
        given = {} if callable(self.inputs) else self.inputs
        return {name: Role.parse(name, text) for name, text in given.items()}

    def is_default(self) -> bool:
        """Whether it says nothing that is not assumed anyway."""
        return not self.said()

    @property
    def input_axes(self) -> tuple[int, ...]:
        """The axis, or the two of a raster, on which time lies in the inputs."""
        return self.input_axis if isinstance(self.input_axis, tuple) else (self.input_axis,)

    @property
    def output_axes(self) -> tuple[int, ...]:
        """The same of the output."""
        return self.output_axis if isinstance(self.output_axis, tuple) else (self.output_axis,)

    @property
    def cache_names(self) -> tuple[str, str]:
        """The argument that takes the cache, and the path of the returned one; empty where the contract says none."""
        argument, _, returned = (self.cache or "").partition("=")
        return argument, returned or argument

    def times_available(self, name: str, role: str, slots: Tensor) -> Tensor:
        """When the slots [n] of an argument are available.

        Raises:
            SubjectError: a clock gives another number of times.
        """
        if name in self.available:
            return _checked(f"available[{name!r}]", self.available[name](slots), slots)
        times = slots + int(role == BEFORE)
        return times.where(slots >= self.prefix, 0) if self.prefix else times

    def times_due(self, slots: Tensor, samples: bool) -> Tensor:
        """When outputs [S] are due; `samples`: each sample of a frame with its frame, where outputs are not frames.

        Raises:
            SubjectError: the clock gives another number of times.
        """
        if self.due is not None:
            return _checked("due", self.due(slots), slots)
        frame = slots // self.hop if samples else slots
        return (frame + 1) * self.hop - 1 + self.lookahead - int(self.strict)

    def described(self) -> dict[str, Any]:
        """What it says besides the default, as words and numbers; functions by name."""
        named = {name: _named(value) for name, value in self.said().items()}
        return {**named, "inputs": {n: str(r) for n, r in self.roles().items()}} if self.roles() else named

    def options(self) -> list[str]:
        """What it says as options of the command line; functions by name, which no command line takes."""
        words = [f"--role {name}={role}" for name, role in self.roles().items()]
        for name, value in self.said().items():
            if name != "inputs" or callable(value):
                text = ",".join(map(str, value)) if isinstance(value, tuple) else _named(value)
                words.append(f"--{name.replace('_', '-')}" + ("" if value is True else f" {text}"))
        return words


def _checked(what: str, times: Any, slots: Tensor) -> Tensor:
    import torch

    times = torch.as_tensor(times)
    if times.shape != slots.shape:
        raise SubjectError(f"the clock {what} gave {list(times.shape)} times for {len(slots)} slots")
    return torch.Tensor.double(times)


def _named(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _named(each) for name, each in value.items()}
    if isinstance(value, Stream):
        return _named(value.step)
    return getattr(value, "__qualname__", repr(value)) if callable(value) else value
