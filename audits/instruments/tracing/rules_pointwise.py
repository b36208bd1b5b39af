"""Element-wise operations: the latest of the operands, unless a constant decides the result."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from audits.instruments.tracing.call import Call, Result, latest, rule, without
from audits.instruments.tracing.taint_map import MASKED, times_of

HUGE = 1e3  # our choice: no mask in the field is smaller than 1e4, no bias nearly as large
DOMINATES = 10.0  # a masking constant is at least this many times as large as what it is added to

FILLS = [
    *("zero", "fill", "zeros", "ones", "empty", "full", "rand", "randn", "randint", "randperm", "arange", "eye"),
    *("normal", "uniform", "bernoulli", "random", "exponential", "log_normal", "cauchy", "geometric", "zeros_like"),
    *("ones_like", "empty_like", "full_like", "rand_like", "randn_like", "randint_like", "new_zeros", "new_ones"),
    *("new_empty", "new_full", "new_empty_strided", "empty_strided", "scalar_tensor", "linspace", "logspace"),
]


@rule(*FILLS)
def fills(call: Call) -> Result:
    """New contents; those of a tensor (a probability, a fill value) are what they depend on."""
    value = call.mark("value") if call.name == "fill" else None
    return call.mark("p") if call.name == "bernoulli" and call.mark("p") is not None else value


def pointwise(call: Call) -> Result:
    """Any other element-wise operation."""
    return latest(*call.all_marks())


@rule("copy")
def copy(call: Call) -> Result:
    """In-place copy: the source's stamps."""
    return call.mark("src")


@rule("mul", masked=True)
def mul(call: Call) -> Result:
    """A constant zero annihilates the other factor; what is masked stays so."""
    return _product(call, ("self", "other"))


@rule("div", "true_divide", "floor_divide", masked=True)
def div(call: Call) -> Result:
    """A constant zero stays zero whatever divides it (which is assumed not to be zero)."""
    return _product(call, ("self",))


def _product(call: Call, annihilators: tuple[str, ...]) -> Tensor | None:
    first, second = call.mark("self"), call.mark("other")
    if first is None or second is None:
        mark = second if first is None else first
        constant = "self" if first is None else "other"
        return without(mark, call.annihilating(constant) if constant in annihilators else None)
    zeros = {name: call.annihilating(name) for name in annihilators}
    marks = (first | second) & MASKED if call.masked else None
    times = latest(without(_plain(call, "self"), zeros.get("other")), without(_plain(call, "other"), zeros.get("self")))
    return times if marks is None or times is None else torch.where(times > 0, times | marks, times)


def _plain(call: Call, name: str) -> Tensor:
    mark = call.solid(name)
    return times_of(mark) if name in call.masked else mark


@rule("bitwise_and", "logical_and")
def conjunction(call: Call) -> Result:
    """A constant False decides."""
    return mul(call)


@rule("bitwise_or", "logical_or")
def disjunction(call: Call) -> Result:
    """A constant True decides, among booleans."""
    first, second = call.mark("self"), call.mark("other")
    true_first, true_second = _constant_true(call, "self"), _constant_true(call, "other")
    return latest(without(first, true_second), without(second, true_first))


def _constant_true(call: Call, name: str) -> Tensor | None:
    value, mark = call.values[name], call.mark(name)
    if not isinstance(value, Tensor) or value.dtype != torch.bool:
        return None
    return value if mark is None else value & (mark == 0)


@rule("add", "sub", "rsub", masked=True)
def add(call: Call) -> Result:
    """An infinity annihilates the other term; a huge negative constant marks the sum as masked."""
    marks = {name: call.mark(name) for name in ("self", "other")}
    signs = {"add": (1, 1), "sub": (1, -1), "rsub": (-1, 1)}[call.name]
    masks = []
    for (name, other), sign in zip((("self", "other"), ("other", "self")), signs, strict=True):
        if marks[other] is not None:
            infinite, huge = _masking(call, name, other, sign)
            marks[other] = without(marks[other], infinite)
            masks.append(huge)
    return _marked(marks["self"], marks["other"], [m for m in masks if m is not None])


def _masking(call: Call, name: str, other: str, sign: int) -> tuple[Tensor | None, Tensor | None]:
    """Where the term `name` is minus infinity, and where it is a finite constant that masks the other.

    Infinity may stand there by a decision that depends on tokens: its own stamp says on which.
    """
    value, mark = call.values[name], call.mark(name)
    if not isinstance(value, Tensor):
        if not isinstance(value, (int, float)) or sign * value > -HUGE:
            return None, None
        value = torch.tensor(float(value), dtype=torch.float64)
    if not value.is_floating_point():
        return None, None
    signed = value if sign > 0 else -value
    low = signed <= -HUGE
    if not bool(low.any()):
        return None, None
    felt = call.values[other]
    size = felt.abs() if isinstance(felt, Tensor) else torch.tensor(float(abs(felt)))
    huge = low & (signed.abs() >= DOMINATES * size)
    return signed.isneginf() & size.isfinite(), huge if mark is None else huge & (mark == 0)


def _marked(first: Tensor | None, second: Tensor | None, masks: list[Tensor]) -> Tensor | None:
    """The latest of two stamps; masked where a mask says so, or where an operand was."""
    if first is None or second is None:
        both = latest(first, second)
        marks = None
    else:
        both, marks = torch.maximum(times_of(first), times_of(second)), (first | second) & MASKED
    if both is None:
        return None
    if marks is not None:
        both = both | marks
    for mask in masks:
        # What is constant needs no mark: its value says that it is masked.
        both = torch.where(mask & (both > 0), both | MASKED, both)
    return both


def branch(call: Call, condition: str, yes: str, no: str) -> Result:
    """A constant condition picks its branch; otherwise all three count, unless both branches are one constant."""
    flag = call.values[condition]
    first, second = call.mark(yes), call.mark(no)
    zero = torch.zeros((), dtype=torch.int16, device=flag.device)
    picked = torch.where(flag, zero if first is None else first, zero if second is None else second)
    chosen = call.mark(condition)
    if chosen is None:
        return picked
    both = latest(*(None if s is None else times_of(s) for s in (chosen, first, second)))
    assert both is not None
    result = torch.where(chosen > 0, both | (picked & MASKED), picked)
    if call.out.is_floating_point():
        # Minus infinity hides what stands elsewhere until the decision itself changes.
        result = torch.where(call.out.isneginf(), torch.maximum(times_of(chosen), times_of(picked)), result)
    same = _same_constant(call, yes, no)
    return result if same is None else torch.where(same, 0, result)


def _same_constant(call: Call, yes: str, no: str) -> Tensor | None:
    """Where both branches are constants of the same value."""
    if any(call.mark(n) is not None and n not in call.sparse for n in (yes, no)):
        return None
    same: Any = call.values[yes] == call.values[no]
    if not isinstance(same, Tensor):
        same = torch.tensor(bool(same))
    for name in (yes, no):
        mark = call.mark(name)
        same = same if mark is None else same & (mark == 0)
    found: Tensor = same
    return found


@rule("where", masked=True)
def where(call: Call) -> Result:
    """`torch.where(condition, self, other)`."""
    return branch(call, "condition", "self", "other")


@rule("masked_fill", masked=True)
def masked_fill(call: Call) -> Result:
    """`masked_fill(self, mask, value)`: the value where the mask holds."""
    return branch(call, "mask", "value", "self")


@rule("exp", masked=True)
def exp(call: Call) -> Result:
    """A masked element that underflows to exactly zero has become a constant zero; of minus infinity, a masked one."""
    mark, value = call.solid("self"), call.out
    gone = (mark >= MASKED) & (value == 0)
    if bool(gone.any()):
        call.notes.assumptions["finite masks stay far below every score"] = None
    times = times_of(mark).masked_fill(gone, 0)
    return torch.where((value == 0) & call.values["self"].isneginf() & (times > 0), times | MASKED, times)


@rule("neg", "abs", "_conj", "conj_physical", "resolve_conj")
def unary(call: Call) -> Result:
    """One operand."""
    return call.mark("self")


@rule("native_dropout")
def dropout(call: Call) -> Result:
    """What is dropped is a constant zero; the mask itself is constant."""
    mask = call.out[1]
    return without(call.solid("input"), ~mask.bool() if mask.numel() else None), None
