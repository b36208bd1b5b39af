"""A work-efficient inclusive scan over the chunk axis, for any associative combination of tuples of tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

Items = TypeVar("Items", bound=tuple[Tensor, ...])  # a NamedTuple of tensors


def inclusive_scan(combine: Callable[[Items, Items], Items], items: Items) -> Items:
    """Prefix combinations along axis 1: entry g of the result combines entries 0..g of `items`.

    Args:
        combine: associative; takes (earlier, later) tuples whose tensors have equal length along axis 1.
        items: a NamedTuple of tensors [B, G, ...], G >= 1.

    Returns:
        A tuple of the same type and shapes. O(G) combinations in O(log G) rounds (Blelloch's pairing: combine
        neighbours, scan the half-length sequence, fill in the even entries). Which operations make up entry g
        depends on g alone, never on G, so a longer sequence cannot change the rounding of an earlier prefix.
    """
    length = items[0].shape[1]
    if length == 1:
        return items
    odd = inclusive_scan(combine, combine(_take(items, slice(0, length - 1, 2)), _take(items, slice(1, None, 2))))
    if length == 2:
        return _interleave(_take(items, slice(0, 1)), odd)
    later = combine(_take(odd, slice(0, (length - 1) // 2)), _take(items, slice(2, None, 2)))
    return _interleave(_join(_take(items, slice(0, 1)), later), odd)


def _like(items: Items, tensors: Iterable[Tensor]) -> Items:
    """The same kind of NamedTuple with other tensors."""
    result: Items = cast("Any", items)._make(tensors)
    return result


def _take(items: Items, index: slice) -> Items:
    return _like(items, (tensor[:, index] for tensor in items))


def _join(first: Items, second: Items) -> Items:
    return _like(first, (torch.cat(pair, dim=1) for pair in zip(first, second, strict=True)))


def _interleave(even: Items, odd: Items) -> Items:
    """Entries 0, 2, 4 … from `even` and 1, 3, 5 … from `odd`."""
    merged = []
    for first, second in zip(even, odd, strict=True):
        both = first.new_empty(first.shape[0], first.shape[1] + second.shape[1], *first.shape[2:])
        both[:, 0::2], both[:, 1::2] = first, second
        merged.append(both)
    return _like(even, merged)
