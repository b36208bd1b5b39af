"""Element-wise operations: the latest of the operands, unless a constant decides the result."""

from __future__ import annotations

import torch
from torch import Tensor

from audits.instruments.tracing.call import Call, Result, latest, rule, without
from audits.instruments.tracing.taint_map import LABEL_DTYPE, MASKED, unflagged

HUGE = 1e3  # our choice: masks in practice are 1e4 or larger, biases far smaller
FINITE_MASKS = "finite masks remain far below every score"
DOMINATES = 10.0  # a masking constant is at least this many times as large as what it is added to

FILLS = [
    *("zero", "fill", "zeros", "ones", "empty", "full", "rand", "randn", "randint", "randperm", "arange", "eye"),
    *("normal", "uniform", "bernoulli", "random", "exponential", "log_normal", "cauchy", "geometric", "zeros_like"),
    *("ones_like", "empty_like", "full_like", "rand_like", "randn_like", "randint_like", "new_zeros", "new_ones"),
    *("new_empty", "new_full", "new_empty_strided", "empty_strided", "scalar_tensor", "linspace", "logspace"),
]
PARAMETERS = {"fill": ("value",), "bernoulli": ("p",), "normal": ("mean", "std")}  # of them, that may be tensors
PARAMETERS |= dict.fromkeys(("linspace", "logspace"), ("start", "end"))


@rule(*FILLS)
def fills(call: Call) -> Result:
    """New contents; they depend on a fill value, probability, mean, deviation or end that is a tensor."""
    given = ("self",) if call.name == "bernoulli" and "p" not in call.values else PARAMETERS.get(call.name, ())
    return latest(*(call.labels_of(name) for name in given))


def pointwise(call: Call) -> Result:
    """Any other element-wise operation."""
    return latest(*call.all_labels())


@rule("copy")
def copy(call: Call) -> Result:
    """In-place copy: the source's labels."""
    return call.labels_of("src")


@rule("mul", masked=True)
@rule("bitwise_and", "logical_and")
def mul(call: Call) -> Result:
    """A constant zero, or False, annihilates the other factor; what is masked remains so."""
    return _product(call, ("self", "other"))


@rule("div", "true_divide", "floor_divide", masked=True)
def div(call: Call) -> Result:
    """A constant zero remains zero whatever the divisor (which is assumed not to be zero)."""
    return _product(call, ("self",))


def _product(call: Call, annihilators: tuple[str, ...]) -> Tensor | None:
    first, second = call.labels_of("self"), call.labels_of("other")
    if second is not None and "self" in annihilators:
        second = without(second, call.annihilating("self"))
    if first is not None and "other" in annihilators:
        first = without(first, call.annihilating("other"))
    return _flagged(first, second)


@rule("bitwise_or", "logical_or")
def disjunction(call: Call) -> Result:
    """A constant True decides, among booleans."""
    first, second = call.labels_of("self"), call.labels_of("other")
    true_first, true_second = _constant_true(call, "self"), _constant_true(call, "other")
    return latest(without(first, true_second), without(second, true_first))


def _constant_true(call: Call, name: str) -> Tensor | None:
    value, labels = call.values[name], call.labels_of(name)
    if not isinstance(value, Tensor) or value.dtype != torch.bool:
        return None
    return value if labels is None else value & (labels == 0)


@rule("add", "sub", "rsub", masked=True)
def add(call: Call) -> Result:
    """An infinity annihilates the other term; a huge negative constant flags the sum as masked."""
    labels = {name: call.labels_of(name) for name in ("self", "other")}
    signs = {"add": (1, 1), "sub": (1, -1), "rsub": (-1, 1)}[call.name]
    masks = []
    for (name, other), sign in zip((("self", "other"), ("other", "self")), signs, strict=True):
        if labels[other] is not None:
            infinite, huge = _masking(call, name, other, sign)
            labels[other] = without(labels[other], infinite)
            masks += [] if huge is None else [huge]
    found = _flagged(labels["self"], labels["other"])
    if found is None:
        return None
    for mask in masks:
        # What is constant needs no flag: its value shows that it is masked.
        found = torch.where(mask & (found > 0), found | MASKED, found)
    return found


def _masking(call: Call, name: str, other: str, sign: int) -> tuple[Tensor | None, Tensor | None]:
    """Where the term `name` is minus infinity, and where it is a finite constant that masks the other.

    The infinity may result from a decision that depends on tokens: its own label says on which.
    """
    value, labels = call.values[name], call.labels_of(name)
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
    term = call.values[other]
    size = term.abs() if isinstance(term, Tensor) else torch.tensor(float(abs(term)))
    huge = low & (signed.abs() >= DOMINATES * size)
    return signed.isneginf() & size.isfinite(), huge if labels is None else huge & (labels == 0)


def _flagged(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    """The latest of two operands, flagged where one was."""
    if first is None or second is None:
        return latest(first, second)
    return torch.maximum(unflagged(first), unflagged(second)) | ((first | second) & MASKED)


def _branch(call: Call, condition: str, yes: str, no: str) -> Result:
    """A constant condition picks its branch; otherwise all three count, unless both branches are one constant."""
    flag = call.values[condition]
    first, second = call.labels_of(yes), call.labels_of(no)
    zero = torch.zeros((), dtype=LABEL_DTYPE, device=flag.device)
    picked = torch.where(flag, zero if first is None else first, zero if second is None else second)
    chosen = call.labels_of(condition)
    if chosen is None:
        return picked
    both = latest(*(None if s is None else unflagged(s) for s in (chosen, first, second)))
    assert both is not None
    result = torch.where(chosen > 0, both | (picked & MASKED), picked)
    if call.out.is_floating_point():
        # Minus infinity hides the other branch until the decision itself changes.
        result = torch.where(call.out.isneginf(), torch.maximum(unflagged(chosen), unflagged(picked)), result)
    same = _same_constant(call, yes, no)
    return result if same is None else torch.where(same, 0, result)


def _same_constant(call: Call, yes: str, no: str) -> Tensor | None:
    """Where both branches are constants of the same value."""
    known = {name: labels for name in (yes, no) if (labels := call.labels_of(name)) is not None}
    if not call.sparse.issuperset(known):
        return None
    same = torch.as_tensor(call.values[yes] == call.values[no])
    for labels in known.values():
        same = same & (labels == 0)
    return same


@rule("where", masked=True)
def where(call: Call) -> Result:
    """`torch.where(condition, self, other)`."""
    return _branch(call, "condition", "self", "other")


@rule("masked_fill", masked=True)
def masked_fill(call: Call) -> Result:
    """`masked_fill(self, mask, value)`: the value where the mask holds."""
    return _branch(call, "mask", "value", "self")


@rule("exp", masked=True)
def exp(call: Call) -> Result:
    """A masked element that underflows to zero becomes a constant zero; minus infinity, a zero flagged as masked."""
    labels, value = call.labels_or_zeros("self"), call.out
    gone = (labels >= MASKED) & (value == 0)
    if bool(gone.any()):
        call.assume(FINITE_MASKS)
    found = unflagged(labels).masked_fill(gone, 0)
    return torch.where((value == 0) & call.values["self"].isneginf() & (found > 0), found | MASKED, found)


@rule("native_dropout")
def dropout(call: Call) -> Result:
    """What is dropped is a constant zero; the mask itself is constant."""
    mask = call.out[1]
    return without(call.labels_or_zeros("input"), ~mask.bool() if mask.numel() else None), None
