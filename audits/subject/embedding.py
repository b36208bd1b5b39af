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


class EmbeddingTap(TorchFunctionMode):
    """While active, replaces the rows looked up for `tokens` [B, N] by `change(rows)` [B, N, D]; other look-ups stay.

    Understands `F.embedding` (and so nn.Embedding), plain indexing `weight[tokens]`, index_select and one-hot codes,
    with the tokens as they are, flattened, transposed, or sliced (any view). `taken` counts the look-ups.
    """

    def __init__(self, tokens: Tensor, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.tokens, self.change, self.taken = tokens, change, 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if func is F.one_hot:
            # Integers carry no derivative; models cast a one-hot code to a float before they multiply by it.
            return self._tap(args, kwargs or {}, output.to(torch.get_default_dtype()), default=output)
        if func in LOOK_UPS and isinstance(output, Tensor) and output.is_floating_point():
            return self._tap(args, kwargs or {}, output, default=output)
        return output

    def _tap(self, args: tuple[Any, ...], kwargs: dict[str, Any], rows: Tensor, *, default: Tensor) -> Tensor:
        """The changed rows where they were looked up for the tokens; else the default."""
        arguments = (*args, *kwargs.values())[:3]
        ids = next((t for t in arguments if isinstance(t, Tensor) and not t.is_floating_point()), None)
        if ids is None or ids.dtype == torch.bool or rows.shape[: ids.ndim] != ids.shape:
            return default
        tokens = self.tokens.to(ids.device)
        if ids.ndim <= 2 and ids.numel() == tokens.numel() and torch.equal(ids.flatten(), tokens.flatten()):
            return self._changed(rows.reshape(*tokens.shape, -1)).reshape(rows.shape)
        if ids.ndim == 2 and torch.equal(ids, tokens.mT):
            return self._changed(rows.transpose(0, 1)).transpose(0, 1)
        indices = _indices_of_view(ids, tokens)
        return default if indices is None else self._changed_at(indices, rows)

    def _changed_at(self, indices: Tensor, rows: Tensor) -> Tensor:
        """Rows looked up for some of the tokens, given their indices among all B * N."""
        width = rows.numel() // indices.numel()
        spread = rows.new_zeros(self.tokens.numel(), width).index_put((indices.flatten(),), rows.reshape(-1, width))
        whole = self._changed(spread.view(*self.tokens.shape, width))
        return whole.reshape(-1, width)[indices.flatten()].reshape(rows.shape)

    def _changed(self, rows: Tensor) -> Tensor:
        self.taken += 1
        return self.change(rows)


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
