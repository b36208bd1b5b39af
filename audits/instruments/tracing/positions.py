"""Which position of the sequence each element of a recorded pass belongs to, whatever has been mixed into it.

Numbers of positions are carried like labels: 1 + the position, 0 where it is unknown. What has the shape of an argument
has its positions, so that a mixture over the sequence belongs to where it is written. What is cut, padded or gathered
takes its positions along.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

from audits.instruments.tracing.call import ArgumentLabels, Call, Rule, labels_of_result
from audits.instruments.tracing.taint_map import LABEL_DTYPE, MAX_POSITIONS, unflagged

FACTORS = {"bmm": "mat2", "mm": "mat2", "baddbmm": "batch2", "addmm": "mat2"}  # products, and their second factor


def numbered(shape: torch.Size, axis: int) -> Tensor:
    """1 + the index along an axis, for every element."""
    numbers = torch.arange(1, shape[axis] + 1, dtype=LABEL_DTYPE)
    return numbers.reshape([-1 if a == axis % len(shape) else 1 for a in range(len(shape))]).expand(shape)


def positions_of(call: Call, rule: Rule, given: ArgumentLabels, target: int, shape: torch.Size, length: int) -> Any:
    """The positions of a target of an operation, from those of its arguments; None where no element's is known."""
    known = [each for each in tree_leaves(given) if isinstance(each, Tensor) and bool(each.any())]
    product = call.name in FACTORS
    found = _carried(call, rule, given, target, shape) if product and known else None
    if found is not None:
        return found
    # A factor of a product may have its shape by chance; of attention the values have their positions where it has.
    values = [each for each in known if each is given.get(FACTORS.get(call.name, "")) and each.ndim - 2 in _axes(each)]
    same = _distinct(each for each in (values if product else known) if each.shape == shape)
    if same:
        chosen = same if len(same) == 1 else [each for each in same if _counted(each, length)]
        return chosen[0] if len(chosen) == 1 else None
    found = _carried(call, rule, given, target, shape) if known and not product else None
    return _along_axis(call, known, shape, length) if found is None else found


def _along_axis(call: Call, known: list[Tensor], shape: torch.Size, length: int) -> Tensor | None:
    """Positions along the one axis that still tells them, as after a convolution or a maximum over windows."""
    lines = (_line(each, axis, shape, length) for each in known for axis in _axes(each))
    kept = _distinct(line for line in lines if line is not None)
    if kept:
        return kept[0] if len(kept) == 1 else None
    axes = {axis for each in known if each.ndim == len(shape) for axis in _axes(each) if shape[axis] == length}
    if call.name in ("cat", "stack") and shape[call.get("dim", 0)] == length:
        axes.add(call.get("dim", 0) % len(shape))
    pairs = (value for value in call.values.values() if isinstance(value, Tensor))
    if not known and list(shape).count(length) == 1 and any(list(each.shape).count(length) > 1 for each in pairs):
        axes.add(list(shape).index(length))  # what is left of pairs belongs to one of each
    return numbered(shape, axes.pop()) if len(axes) == 1 else None


def _line(numbers: Tensor, axis: int, shape: torch.Size, length: int) -> Tensor | None:
    """The positions along an axis, in a shape with one axis of that size; None unless it counts all of them."""
    size = numbers.shape[axis]
    line = numbers.movedim(axis, 0).reshape(size, -1).amax(1)
    real = line[line > 0].unique_consecutive()
    if list(shape).count(size) != 1 or not torch.equal(real, torch.arange(1, length + 1, dtype=real.dtype)):
        return None
    return line.reshape([-1 if each == size else 1 for each in shape]).expand(shape)


def _carried(call: Call, rule: Rule, given: ArgumentLabels, target: int, shape: torch.Size) -> Tensor | None:
    """Positions taken along by an operation; None where some element is made from several, or none is known."""
    turned = tree_map_only(Tensor, _turned, given)
    results = [labels_of_result(rule, call.with_labels(each), target, shape) for each in (given, turned)]
    latest, earliest = (None if each is None else unflagged(each) for each in results)
    if latest is None or earliest is None or not torch.equal(latest, _turned(earliest)) or not bool(latest.any()):
        return None
    return latest


def _turned(numbers: Tensor) -> Tensor:
    """Numbers in reverse order, so that the latest becomes the earliest; 0 stays."""
    return torch.where(numbers > 0, MAX_POSITIONS + 1 - numbers, 0).to(LABEL_DTYPE)


def _axes(numbers: Tensor) -> list[int]:
    """The axes along which positions vary."""
    return [axis for axis in range(numbers.ndim) if bool((numbers != numbers.narrow(axis, 0, 1)).any())]


def _counted(numbers: Tensor, length: int) -> bool:
    """Whether positions are simply counted along an axis as long as the sequence."""
    axes = (axis for axis, size in enumerate(numbers.shape) if size == length)
    return any(torch.equal(numbers, numbered(numbers.shape, axis)) for axis in axes)


def _distinct(tensors: Iterator[Tensor]) -> list[Tensor]:
    found: list[Tensor] = []
    for each in tensors:
        if not any(torch.equal(each, other) for other in found):
            found.append(each)
    return found
