"""Padding from an attention mask; any other mask is refused, because a HubRouter layer does not support it.

Axes: B (rows), N (tokens of this piece), P (tokens before it), T (keys of the mask, at least P + N).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hubrouter.adapters.errors import AdapterError
from hubrouter.shapes import Bool, Float

PACKED = (
    "the rows hold packed documents, which this layer would route as one: unpack them into rows, or use the fla "
    "adapter with cu_seqlens"
)


def real_tokens(mask: Any, x: Float[Tensor, "B N D"], past: int) -> Bool[Tensor, "B T"]:
    """Which tokens are real, from all that Hugging Face blocks pass as `attention_mask`.

    Args:
        mask: None (all tokens are real); 0 or 1 for every token, [B, N] or [B, P + N]; or a causal mask as transformers
            builds it, [B or 1, H or 1, N, T], boolean (True may be read) or additive (0 may be read).
        x: this piece.
        past: tokens P before it, padding included.

    Returns:
        [B, N] where the mask covers this piece alone, else [B, P + N].

    Raises:
        AdapterError: the mask is anything but causal order and padding.
    """
    if mask is None:
        return torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
    if not isinstance(mask, Tensor):
        raise AdapterError(
            f"attention_mask is a {type(mask).__name__}: load the model with attn_implementation='sdpa' or 'eager'"
        )
    if mask.ndim == 2:
        return _padding(mask.to(x.device), x, past)
    if mask.ndim == 4:
        return _from_causal(_readable(mask.to(x.device)), x, past)
    raise AdapterError(f"attention_mask must have 2 or 4 axes, not the shape {list(mask.shape)}")


def refuse_documents(position_ids: Tensor | None, real: Bool[Tensor, "B N"]) -> None:
    """Refuse packed documents: positions that do not rise from one real token to the next begin another document.

    Raises:
        AdapterError: there are such positions.
    """
    if position_ids is None or position_ids.ndim != 2 or position_ids.shape[1] != real.shape[1]:
        return
    position = position_ids.to(real.device).expand(len(real), -1).masked_fill(~real, -1)
    earlier = position.cummax(1).values[:, :-1]
    if bool((real[:, 1:] & (position[:, 1:] <= earlier)).any()):
        raise AdapterError(f"position_ids restart within a row: {PACKED}")


def _padding(mask: Tensor, x: Tensor, past: int) -> Tensor:
    rows, columns = mask.shape
    if rows != x.shape[0] or columns not in (x.shape[1], past + x.shape[1]):
        raise AdapterError(
            f"attention_mask [{rows}, {columns}] fits neither {x.shape[0]} rows of {x.shape[1]} tokens nor these with "
            f"the {past} tokens before them"
        )
    if not bool(((mask == 0) | (mask == 1)).all()):
        raise AdapterError(f"attention_mask must hold 0 (padding) and 1 (real) only; other numbers: {PACKED}")
    return mask.bool()


def _readable(mask: Tensor) -> Tensor:
    """True where a key may be read, from a boolean or an additive mask."""
    if mask.dtype == torch.bool:
        return mask
    hidden = mask <= torch.finfo(mask.dtype).min if mask.is_floating_point() else mask == 0
    if mask.is_floating_point() and not bool((hidden | (mask == 0)).all()):
        raise AdapterError(
            "attention_mask adds a bias other than 0 and minus infinity: a HubRouter layer has no logits"
        )
    return ~hidden


def _from_causal(readable: Tensor, x: Tensor, past: int) -> Tensor:
    """Real tokens are those that may read themselves or are read by later ones; all else must be causal order."""
    (batch, size), (rows, _, queries, keys) = x.shape[:2], readable.shape
    if rows not in (1, batch) or queries != size or keys < past + size:
        raise AdapterError(
            f"attention_mask {list(readable.shape)} does not fit {batch} rows of {size} tokens after {past}"
        )
    readable = readable.expand(batch, *readable.shape[1:])
    own = torch.arange(past, past + size, device=readable.device)
    itself = readable[:, 0, torch.arange(size, device=readable.device), own]
    # Rows of padding tokens are arbitrary; every row of a real token shows which earlier tokens are real.
    earlier = (readable[:, 0, :, :past] & itself[..., None]).any(1)
    real = torch.cat([earlier, itself], dim=1)
    order = torch.arange(keys, device=readable.device) <= own[:, None]
    expected = torch.zeros_like(readable[:, 0]).index_copy(
        2, torch.arange(past + size, device=readable.device), _keys(real, size)
    )
    wrong = (readable != (expected & order)[:, None]) & itself[:, None, :, None]
    if bool(wrong.any()):
        raise AdapterError(_why(bool((wrong & readable).any())))
    return real


def _keys(real: Tensor, queries: int) -> Tensor:
    return real[:, None].expand(-1, queries, -1)


def _why(future: bool) -> str:
    if future:
        return "attention_mask lets tokens read later ones: a HubRouter layer is causal or bidirectional as a whole"
    return f"attention_mask hides earlier real tokens, as for a sliding window or packed documents; if {PACKED}"
