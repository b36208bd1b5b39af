"""The tracer: a dispatch mode that runs every operation as it is and keeps the labels of all storages."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from audits.instruments.source_lines import Frame, user_frame, user_numbers
from audits.instruments.tracing.call import UNKNOWN_FORM, ArgumentLabels, Call, Notes, Rule
from audits.instruments.tracing.rules import SILENT, Plan, mix_all, plan
from audits.instruments.tracing.rules_group import groups, lists_groups
from audits.instruments.tracing.rules_pointwise import fills
from audits.instruments.tracing.taint_map import LABEL_DTYPE, MASKED, TaintMap, TaintMaps, storage_key, unflagged
from audits.subject.operations import DispatchMode, tensors_in

INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
RANKINGS = {
    *("sort", "topk", "kthvalue", "argmax", "argmin"),
    *("max", "min", "median", "mode", "cummax", "cummin"),
}
COMPARISONS = {"eq", "ne", "lt", "le", "gt", "ge", "isin"}
SIZES = {"nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "bincount", "repeat_interleave"}
EMPTY = {"empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided", "empty_permuted"}
UNWRITTEN = "memory that no operation wrote"
MAX_COMPARED = 16  # elements of a tensor whose values count as constants that tokens are compared with


@dataclass(frozen=True)
class Escape:
    """A value that depends on tokens and left for Python, where it cannot be followed.

    Attributes:
        how: the operation or method.
        frame: where in the subject.
        latest: the latest position that it depends on.
        silent: whether many values came back at once (`tolist`, `numpy`), not one that a decision is taken by.
        number: which of all reads of the pass it is, from 0.
        constants: numbers named in the function that reads it.
    """

    how: str
    frame: Frame | None
    latest: int
    silent: bool
    number: int
    constants: tuple[int | float, ...]


class Tracer(DispatchMode):
    """Follows tokens through one forward pass; used as a context manager around it."""

    def __init__(self, module: nn.Module | None, *, grouping: bool = False) -> None:
        super().__init__()
        self.taint_maps = TaintMaps()
        self.notes = Notes(grouping)
        self.escapes: list[Escape] = []
        self.compared: dict[int | float, None] = {}  # numbers that the subject compares integers with, in that order
        self.choices: dict[str, None] = {}  # operations that rank or compare what depends on tokens, or size by it
        self._reads = 0
        self._last = 0  # the largest label of the inputs
        self._unwritten: dict[int, StorageWeakRef] = {}  # storages that nothing wrote since they were made
        tensors = [] if module is None else [*module.parameters()]
        self._weights: dict[int, bool | None] = {storage_key(t): None for t in tensors}

    def start(self, inputs: Tensor, labels: Tensor) -> None:
        """Label the inputs [B, N, ...] of the pass."""
        self.taint_maps.write(inputs, labels)
        self._last = int(labels.max()) if labels.numel() else 0

    def labels_of(self, output: Tensor) -> Tensor | None:
        """The labels of an output of the pass; None where it is constant."""
        self._if_unwritten(output)
        return self.taint_maps.read(output)

    def _if_unwritten(self, tensor: Tensor) -> None:
        """What is read though nothing wrote it was written by a kernel that torch does not see, from whatever input."""
        if (weak := self._unwritten.get(storage_key(tensor))) is not None and tensor.numel():
            if weak.expired():  # the address has been given to another storage
                del self._unwritten[storage_key(tensor)]
                return
            self.notes.unknown[UNWRITTEN] = None
            self.taint_maps.write(tensor, torch.full((), self._last, dtype=LABEL_DTYPE, device=tensor.device))

    def operation(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run one operation, and compute the labels of what it writes."""
        todo = plan(func)
        if todo.view:
            return func(*args, **kwargs)
        values = dict(zip(todo.names, args, strict=False)) | kwargs
        if todo.name in EMPTY:
            out = func(*args, **kwargs)
            self.taint_maps.write(out, None)
            self._unwritten[storage_key(out)] = StorageWeakRef(out.untyped_storage())
            return out
        if self._unwritten:
            for name, value in values.items():
                for tensor in tensors_in(value):
                    if name in todo.written:
                        self._unwritten.pop(storage_key(tensor), None)
                    elif todo.rule is not fills:
                        self._if_unwritten(tensor)
        labels, maps = self._read(todo, values)
        if todo.reads:
            if todo.name not in SILENT:
                self.note_escape(todo.name, *labels.values(), silent=False)
                self._reads += 1
            return func(*args, **kwargs)
        if not labels:
            out = func(*args, **kwargs)
            self._set_constant(todo, values, out)
            return out
        if todo.name in COMPARISONS:
            self._note_compared(values, labels)
        if todo.name in COMPARISONS | RANKINGS | SIZES:
            self.choices[todo.name] = None
        simpler = self._decomposition(func) if todo.rule is None else None
        if simpler is not None:
            with self:
                return simpler(*args, **kwargs)
        if todo.reads_old_value:
            values = {n: v.clone() if n in todo.written and isinstance(v, Tensor) else v for n, v in values.items()}
        out = func(*args, **kwargs)
        given = {n: v for n, v in values.items() if n not in todo.outputs}
        call = Call(todo.name, given, labels, out, maps, self._may_hold_zero, self.notes)
        self._write(func, todo, call, tensors_in(out) or [v for n in todo.written for v in tensors_in(values.get(n))])
        return out

    def _write(self, func: Any, todo: Plan, call: Call, targets: list[Tensor]) -> None:
        """Set the labels of what an operation wrote."""
        used = todo.rule
        found = None if used is None else _labels(used, call, targets)
        if found is None:
            self.notes.unknown[str(func)] = None
            used = mix_all
            latest = mix_all(call)
            found = (latest if isinstance(latest, Tensor) else None,) * len(targets)
        # Coordinates remain coordinates until something else is made of them: numbers, or a choice among them.
        kept = call.packed == call.labels.keys() and todo.name not in RANKINGS
        packed = todo.name == "nonzero" or groups(call) or kept
        for target, new in zip(targets, found, strict=False):
            masked = (
                todo.masked and new is not None and (bool(call.masked) or todo.masks) and bool((new >= MASKED).any())
            )
            self.taint_maps.write(target, new, masked=masked, packed=packed and target.dtype in INTEGERS)
        self._record(todo, used or mix_all, call, targets)

    def _record(self, todo: Plan, used: Rule, call: Call, targets: list[Tensor]) -> None:
        """For subclasses that record."""

    def note_escape(self, how: str, *labels: Tensor, silent: bool) -> None:
        """Note that a value left for Python, unless its labels say that it is constant."""
        latest = max((int(unflagged(each).max()) for each in labels if each.numel()), default=0)
        if latest:
            self.escapes.append(Escape(how, user_frame(), latest - 1, silent, self._reads, user_numbers()))

    def _note_compared(self, values: dict[str, Any], labels: ArgumentLabels) -> None:
        """Note the constants in a comparison of integers that depend on tokens."""
        for name, value in values.items():
            if name in labels and value.dtype not in INTEGERS:
                return
            few = isinstance(value, Tensor) and name not in labels and value.numel() <= MAX_COMPARED
            numbers = value.reshape(-1).tolist() if few else [value]
            self.compared.update(dict.fromkeys(n for n in numbers if type(n) in (int, float)))

    def _read(self, todo: Plan, values: dict[str, Any]) -> tuple[ArgumentLabels, dict[str, list[TaintMap]]]:
        """The labels of the arguments that are not constant, and the taint maps of their storages."""
        labels: ArgumentLabels = {}
        maps: dict[str, list[TaintMap]] = {}
        for name, value in values.items():
            tensors = tensors_in(value) if name not in todo.outputs else []
            known = [found for each in tensors if (found := self.taint_maps.of(each)) is not None]
            if known:
                maps[name] = known
                listed = isinstance(value, (list, tuple))
                labels[name] = [self._labels_of(todo, v) for v in value] if listed else self._labels_of(todo, value)
        return labels, maps

    def _labels_of(self, todo: Plan, value: Any) -> Tensor | None:
        found = self.taint_maps.of(value) if isinstance(value, Tensor) else None
        if found is None:
            return None
        return unflagged(found.labels(value)) if found.masked and not todo.masked else found.labels(value)

    def _set_constant(self, todo: Plan, values: dict[str, Any], out: Any) -> None:  # noqa: ARG002 - for subclasses
        """All inputs are constant, so what was written is constant, whatever it held before."""
        for name in todo.written:
            for target in tensors_in(values.get(name)):
                self.taint_maps.write(target, None)

    def _decomposition(self, func: Any) -> Callable[..., Any] | None:
        """What runs an operation without a rule as the simpler ones it is made of, where torch knows them."""
        if func._can_decompose():
            return func.decompose  # type: ignore[no-any-return] # torch leaves it unannotated
        from torch._decomp import decomposition_table

        return None if func._schema.is_mutable else decomposition_table.get(func)

    def _may_hold_zero(self, tensor: Tensor) -> bool:
        """Whether a constant tensor may hold a zero; found out once for each weight."""
        key = storage_key(tensor)
        if key not in self._weights:
            return True
        known = self._weights[key]
        if known is None:
            known = self._weights[key] = bool((tensor == 0).any()) or tensor.numel() * tensor.element_size() < (
                tensor.untyped_storage().nbytes()
            )
        return known


class _EscapeMode(TorchFunctionMode):
    """Notices values that leave torch without an operation."""

    NAMES = frozenset({"tolist", "numpy", "__array__", "__dlpack__"})

    def __init__(self, tracer: Tracer) -> None:
        super().__init__()
        self.tracer = tracer

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", None) in self.NAMES:
            labels = self.tracer.taint_maps.read(args[0])
            if labels is not None and not lists_groups(self.tracer.notes, labels):
                self.tracer.note_escape(func.__name__, labels, silent=True)
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def tracing(tracer: Tracer) -> Iterator[None]:
    """Activate the tracer; fused kernels that hide several operations are switched off meanwhile."""
    onednn, fast = torch._C._get_mkldnn_enabled(), torch.backends.mha.get_fastpath_enabled()
    try:
        torch._C._set_mkldnn_enabled(False)
        torch.backends.mha.set_fastpath_enabled(False)
        with sdpa_kernel(SDPBackend.MATH), _EscapeMode(tracer), tracer:
            yield
    finally:
        torch._C._set_mkldnn_enabled(onednn)
        torch.backends.mha.set_fastpath_enabled(fast)


def _labels(used: Rule, call: Call, targets: list[Tensor]) -> tuple[Tensor | None, ...] | None:
    """Labels for every target; None where the rule does not know this form of the operation."""
    try:
        found = used(call)
        labels = found if isinstance(found, tuple) else (found,) * len(targets)
        return tuple(None if s is None else s.expand(t.shape) for s, t in zip(labels, targets, strict=True))
    except UNKNOWN_FORM:
        return None
