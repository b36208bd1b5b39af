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
        made = next((made for made in self._computed if made.shape == ids.shape and torch.equal(made, ids)), None)
        tokens = self.tokens.to(ids.device) if made is None else made
        if ids.ndim <= 2 and ids.numel() == tokens.numel() and torch.equal(ids.flatten(), tokens.flatten()):
            return self._changed(rows.reshape(*tokens.shape, -1)).reshape(rows.shape)
        if ids.ndim == 2 and torch.equal(ids, tokens.mT):
            return self._changed(rows.transpose(0, 1)).transpose(0, 1)
        indices = _indices_of_view(ids, tokens)
        if indices is not None:
            return self._changed_at(indices, rows)
        found = _overlap(ids, [tokens, *self._computed])
        return default if found is None else self._changed_between(*found, rows)

    def _note(self, args: tuple[Any, ...], output: Tensor) -> None:
        """Keep what is computed from the tokens, or from what was."""
        if output.shape != self.tokens.shape or output.is_floating_point() or output.dtype == torch.bool:
            return
        given = [t for t in args if isinstance(t, Tensor) and t.shape == output.shape and t.dtype != torch.bool]
        known = (self.tokens.to(output.device), *self._computed)
        if any(bool((t == made).all()) for t in given for made in known):
            self._computed.append(output)

    def _changed_between(self, start: int, first: int, size: int, rows: Tensor) -> Tensor:
        """Rows looked up for ids of which those from `start` on are the tokens from `first` on."""
        whole = rows.new_zeros(*self.tokens.shape, rows.shape[-1])
        whole[:, first : first + size] = rows[:, start : start + size]
        changed = self._changed(whole)[:, first : first + size]
        return torch.cat([rows[:, :start], changed, rows[:, start + size :]], dim=1)

    def _changed_at(self, indices: Tensor, rows: Tensor) -> Tensor:
        """Rows looked up for some of the tokens, given their indices among all B * N."""
        width = rows.numel() // indices.numel()
        spread = rows.new_zeros(self.tokens.numel(), width).index_put((indices.flatten(),), rows.reshape(-1, width))
        whole = self._changed(spread.view(*self.tokens.shape, width))
        return whole.reshape(-1, width)[indices.flatten()].reshape(rows.shape)

    def _changed(self, rows: Tensor) -> Tensor:
        self.taken += 1
        return self.change(rows)


def _overlap(ids: Tensor, made: list[Tensor]) -> tuple[int, int, int] | None:
    """Where ids [B, M] hold tokens [B, N] in order, all but a few: from which id, from which token, how many."""
    for tokens in made if ids.ndim == 2 and len(ids) == len(made[0]) else ():
        length = tokens.shape[1]
        for shift in sorted(range(-EDGE, ids.shape[1] - length + EDGE + 1), key=abs):
            start, first = max(shift, 0), max(-shift, 0)
            size = min(ids.shape[1] - start, length - first)
            same = size >= max(length - EDGE, length // 2 + 1)
            if same and bool((ids[:, start : start + size] == tokens[:, first : first + size]).all()):
                return start, first, size
    return None


def _indices_of_view(ids: Tensor, tokens: Tensor) -> Tensor | None:
    """The index of each id in the flattened tokens, if the ids are a view of a tensor that equals the tokens."""
    storage = ids.untyped_storage()
    if not ids.numel() or storage.nbytes() != tokens.numel() * ids.element_size():
        return None
    whole = torch.empty(0, dtype=ids.dtype, device=ids.device).set_(storage)
    if not torch.equal(whole, tokens.flatten().to(ids.dtype)):
        return None
    indices = torch.arange(tokens.numel(), device=ids.device)
    return indices.as_strided(ids.shape, ids.stride(), ids.storage_offset())
