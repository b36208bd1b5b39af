"""The tracer: a dispatch mode that runs every operation as it is and keeps stamps beside all storages."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from audits.instruments.source_lines import Frame, user_frames
from audits.instruments.tracing.call import Call, Marks, Notes, Rule
from audits.instruments.tracing.rules import SILENT, Kind, Plan, everything, plan
from audits.instruments.tracing.rules_group import groups
from audits.instruments.tracing.taint_map import MASKED, Shadow, Shadows, times_of
from audits.subject.operations import DispatchMode

WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
CHOOSING = {
    "sort",
    "topk",
    "argsort",
    "kthvalue",
    "argmax",
    "argmin",
    "max",
    "min",
    "median",
    "mode",
    "cummax",
    "cummin",
}


@dataclass(frozen=True)
class Escape:
    """A value that depends on tokens and left for Python, where it cannot be followed.

    Attributes:
        how: the operation or method.
        frame: where in the subject.
        silent: whether the values came back as numbers (`tolist`, `numpy`), not only for a decision.
    """

    how: str
    frame: Frame | None
    silent: bool


class Tracer(DispatchMode):
    """Follows tokens through one forward pass; used as a context manager around it."""

    def __init__(self, module: nn.Module | None, *, grouping: bool = False) -> None:
        super().__init__()
        self.shadows = Shadows()
        self.notes = Notes(grouping)
        self.escapes: dict[Escape, None] = {}
        tensors = [] if module is None else [*module.parameters()]
        self._weights: dict[int, bool | None] = {t.untyped_storage()._cdata: None for t in tensors}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        todo = plan(func)
        if todo.kind is Kind.VIEW:
            return func(*args, **kwargs)
        values = dict(zip(todo.names, args, strict=False))
        values.update(kwargs)
        marks, facts = self._read(todo, values)
        if todo.kind is Kind.READ:
            if marks and todo.name not in SILENT:
                self.escaped(todo.name, silent=False)
            return func(*args, **kwargs)
        if not marks:
            out = func(*args, **kwargs)
            self._constant(todo, values)
            return out
        if todo.kind is Kind.NONE:
            taken, result = self._taken_apart(func, args, kwargs)
            if taken:
                return result
        return self._apply(func, todo, args, kwargs, values, marks, facts)

    def _apply(
        self, func: Any, todo: Plan, args: Any, kwargs: Any, values: dict[str, Any], marks: Marks, facts: _Facts
    ) -> Any:
        if todo.remembers:
            values = {n: v.clone() if n in todo.written and isinstance(v, Tensor) else v for n, v in values.items()}
        out = func(*args, **kwargs)
        call = Call(
            name=todo.name,
            values={n: v for n, v in values.items() if n not in todo.outputs},
            marks=marks,
            out=out,
            sparse=frozenset(facts.sparse),
            masked=frozenset(facts.masked),
            packed=frozenset(facts.packed),
            zeros=self._zeros,
            notes=self.notes,
        )
        targets = _tensors(out) or [v for n in todo.written for v in _tensors(values.get(n))]
        used = todo.rule
        stamps = None if used is None else _stamps(used, call, targets)
        if stamps is None:
            self.notes.unknown[str(func)] = None
            used = everything
            latest = everything(call)
            stamps = (latest if isinstance(latest, Tensor) else None,) * len(targets)
        # Coordinates stay coordinates until something else is made of them: numbers, or a choice among them.
        packed = todo.name == "nonzero" or groups(call) or (facts.packed == marks.keys() and todo.name not in CHOOSING)
        for target, stamp in zip(targets, stamps, strict=False):
            masked = todo.masked and stamp is not None and (bool(facts.masked) or todo.masks) and is_masked(stamp)
            self.shadows.write(target, stamp, masked=masked, packed=packed and target.dtype in WHOLE)
        self._keep(todo, used or everything, call, targets, stamps)
        return out

    def _keep(
        self, todo: Plan, used: Rule, call: Call, targets: list[Tensor], stamps: tuple[Tensor | None, ...]
    ) -> None:
        """For subclasses that record."""

    def escaped(self, how: str, *, silent: bool) -> None:
        """Note that a value left for Python."""
        frames = user_frames()
        self.escapes[Escape(how, frames[0] if frames else None, silent)] = None

    def _read(self, todo: Plan, values: dict[str, Any]) -> tuple[Marks, _Facts]:
        marks: Marks = {}
        facts = _Facts()
        for name, value in values.items():
            if isinstance(value, Tensor):
                if name not in todo.outputs:
                    mark = self._mark(todo, name, value, facts)
                    if mark is not None:
                        marks[name] = mark
            elif isinstance(value, (list, tuple)) and value and any(isinstance(v, Tensor) for v in value):
                found = [self._mark(todo, name, v, facts) if isinstance(v, Tensor) else None for v in value]
                if any(m is not None for m in found):
                    marks[name] = found
        return marks, facts

    def _mark(self, todo: Plan, name: str, value: Tensor, facts: _Facts) -> Tensor | None:
        shadow = self.shadows.of(value)
        if shadow is None:
            return None
        facts.add(name, shadow)
        mark = self.shadows.read(value)
        return times_of(mark) if mark is not None and shadow.masked and not todo.masked else mark

    def _constant(self, todo: Plan, values: dict[str, Any]) -> None:
        """Nothing but constants went in, so what was written is constant, whatever stood there before."""
        for name in todo.written:
            for target in _tensors(values.get(name)):
                self.shadows.write(target, None)

    def _taken_apart(self, func: Any, args: Any, kwargs: Any) -> tuple[bool, Any]:
        """Run an operation without a rule as the simpler ones it is made of, where torch knows them."""
        if func._can_decompose():
            with self:
                return True, func.decompose(*args, **kwargs)
        from torch._decomp import decomposition_table

        if func in decomposition_table and not func._schema.is_mutable:
            with self:
                return True, decomposition_table[func](*args, **kwargs)
        return False, None

    def _zeros(self, tensor: Tensor) -> bool:
        """Whether a constant tensor may hold a zero; found out once for each weight."""
        key = tensor.untyped_storage()._cdata
        if key not in self._weights:
            return True
        known = self._weights[key]
        if known is None:
            known = self._weights[key] = bool((tensor == 0).any()) or tensor.numel() * tensor.element_size() < (
                tensor.untyped_storage().nbytes()
            )
        return known


class _Facts:
    """What the shadows of a call's arguments say about them."""

    def __init__(self) -> None:
        self.sparse: set[str] = set()
        self.packed: set[str] = set()
        self.masked: set[str] = set()

    def add(self, name: str, shadow: Shadow) -> None:
        if not shadow.dense():
            self.sparse.add(name)
        if shadow.packed:
            self.packed.add(name)
        if shadow.masked:
            self.masked.add(name)


class _Exits(TorchFunctionMode):
    """Notices values that leave torch without an operation."""

    NAMES = frozenset({"tolist", "numpy", "__array__", "__dlpack__"})

    def __init__(self, tracer: Tracer) -> None:
        super().__init__()
        self.tracer = tracer

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", None) in self.NAMES:
            mark = self.tracer.shadows.read(args[0])
            if mark is not None and bool((mark > 0).any()):
                self.tracer.escaped(func.__name__, silent=True)
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def tracing(tracer: Tracer) -> Iterator[None]:
    """The tracer at work: fused kernels that hide several operations are switched off meanwhile."""
    onednn, fast = torch._C._get_mkldnn_enabled(), torch.backends.mha.get_fastpath_enabled()
    try:
        torch._C._set_mkldnn_enabled(False)
        torch.backends.mha.set_fastpath_enabled(False)
        with sdpa_kernel(SDPBackend.MATH), _Exits(tracer), tracer:
            yield
    finally:
        torch._C._set_mkldnn_enabled(onednn)
        torch.backends.mha.set_fastpath_enabled(fast)


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, (list, tuple)):
        return [t for v in value for t in _tensors(v)]
    return []


def _stamps(used: Rule, call: Call, targets: list[Tensor]) -> tuple[Tensor | None, ...] | None:
    """Stamps for every target; None where the rule does not know this form of the operation."""
    try:
        found = used(call)
        stamps = found if isinstance(found, tuple) else (found,) * len(targets)
        return tuple(None if s is None else s.expand(t.shape) for s, t in zip(stamps, targets, strict=True))
    except (KeyError, IndexError, TypeError, ValueError, RuntimeError, AttributeError):
        return None


def is_masked(stamps: Tensor) -> bool:
    """Whether any stamp carries the mark of masked elements."""
    return bool((stamps >= MASKED).any())
