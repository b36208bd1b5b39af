"""Where integer tokens become floats: intercepts the embedding look-up, for gradients and small perturbations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

LOOK_UPS = (
    *(F.embedding, torch.embedding, Tensor.__getitem__, torch.index_select, Tensor.index_select),
    torch.ops.aten.embedding.default,  # in exported programs
)

# By these, tokens become other ids each for itself: a wrapper's `tokens // 2`, or `where(tokens == PAD, 0, tokens)`.
EACH_FOR_ITSELF = {
    *("floor_divide", "__floordiv__", "remainder", "__mod__", "add", "__add__", "__radd__", "sub", "__sub__"),
    *("__rsub__", "mul", "__mul__", "__rmul__", "clamp", "where", "masked_fill", "bitwise_and", "__and__"),
    *("bitwise_right_shift", "__rshift__", "to", "long", "int", "clone"),
}
EDGE = 8  # tokens that may be missing where ids hold them in order, between or beside others; our choice


class EmbeddingTap(TorchFunctionMode):
    """While active, replaces the rows looked up for `tokens` [B, N] by `change(rows)` [B, N, D]; other look-ups stay.

    Understands `F.embedding` (and so nn.Embedding), plain indexing `weight[tokens]`, index_select and one-hot codes,
    with the tokens as they are, each computed from its own, shifted or between others (a fixed prefix, padding),
    flattened, transposed, or sliced (any view). `taken` counts the look-ups.
    """

    def __init__(self, tokens: Tensor, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.tokens, self.change, self.taken = tokens, change, 0
        self._computed: list[Tensor] = []  # ids that are made of the tokens, each of its own

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if func is F.one_hot:
            # Integers carry no derivative; models cast a one-hot code to a float before they multiply by it.
            return self._tap(args, kwargs or {}, output.to(torch.get_default_dtype()), default=output)
        if getattr(func, "__name__", "") in EACH_FOR_ITSELF and isinstance(output, Tensor):
            self._note(args, output)
        if func in LOOK_UPS and isinstance(output, Tensor) and output.is_floating_point():
            return self._tap(args, kwargs or {}, output, default=output)
        return output

    def _tap(self, args: tuple[Any, ...], kwargs: dict[str, Any], rows: Tensor, *, default: Tensor) -> Tensor:
        """The changed rows where they were looked up for the tokens; else the default."""
        arguments = (*args, *kwargs.values())[:3]
        ids = next((t for t in arguments if isinstance(t, Tensor) and not t.is_floating_point()), None)
        if ids is None or ids.dtype == torch.bool or rows.shape[: ids.ndim] != ids.shape:
            return default
        known = (self.tokens.to(ids.device), *self._computed)
        found = (find(ids, tokens) for find in (_indices, _indices_of_overlap) for tokens in known)
        indices = next((indices for indices in found if indices is not None), None)
        return default if indices is None else self._changed(indices, rows)

    def _note(self, args: tuple[Any, ...], output: Tensor) -> None:
        """Keep what is computed from the tokens, or from what was."""
        if output.shape != self.tokens.shape or output.is_floating_point() or output.dtype == torch.bool:
            return
        given = [t for t in args if isinstance(t, Tensor) and t.shape == output.shape and t.dtype != torch.bool]
        known = (self.tokens.to(output.device), *self._computed)
        if any(bool((t == made).all()) for t in given for made in known):
            self._computed.append(output)

    def _changed(self, indices: Tensor, rows: Tensor) -> Tensor:
        """The rows, changed where they were looked up for a token."""
        self.taken += 1
        taken, width = indices >= 0, rows.shape[indices.ndim :]
        indices = indices[taken]
        spread = rows.new_zeros(self.tokens.numel(), *width).index_put((indices,), rows[taken])
        changed = self.change(spread.view(*self.tokens.shape, -1)).reshape(-1, *width)[indices]
        return changed.view(rows.shape) if bool(taken.all()) else rows.index_put((taken,), changed)


def _indices(ids: Tensor, tokens: Tensor) -> Tensor | None:
    """The index of each id among all tokens [B, N], if the ids are they: flattened, transposed, or any view of them."""
    indices = torch.arange(tokens.numel(), device=ids.device)
    if ids.ndim <= 2 and ids.numel() == tokens.numel():
        for shaped in (indices.view(ids.shape), indices.view(tokens.shape).mT):
            if shaped.shape == ids.shape and bool((tokens.flatten()[shaped] == ids).all()):
                return shaped
    storage = ids.untyped_storage()
    if not ids.numel() or storage.nbytes() != tokens.numel() * ids.element_size():
        return None
    whole = torch.empty(0, dtype=ids.dtype, device=ids.device).set_(storage)
    if not torch.equal(whole, tokens.flatten().to(ids.dtype)):
        return None
    return indices.as_strided(ids.shape, ids.stride(), ids.storage_offset())


def _indices_of_overlap(ids: Tensor, tokens: Tensor) -> Tensor | None:
    """The same, -1 for other ids, if ids [B, M] hold the tokens [B, N] in order, all but a few at either end."""
    length = tokens.shape[1]
    if ids.ndim != 2 or len(ids) != len(tokens):
        return None
    for shift in sorted(range(-EDGE, ids.shape[1] - length + EDGE + 1), key=abs):
        start, first = max(shift, 0), max(-shift, 0)
        size = min(ids.shape[1] - start, length - first)
        same = size >= max(length - EDGE, length // 2 + 1)
        if same and bool((ids[:, start : start + size] == tokens[:, first : first + size]).all()):
            indices = torch.arange(tokens.numel(), device=ids.device).view(tokens.shape)[:, first : first + size]
            return F.pad(indices, (start, ids.shape[1] - start - size), value=-1)
    return None
