"""What an attention mask says about padding, or that it says something a HubRouter layer cannot obey.

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
            builds it, [B or 1, H or 1, N, T], boolean (True is seen) or additive (0 is seen).
        x: this piece.
        past: tokens P before it, padding included.

    Returns:
        [B, N] where the mask speaks of this piece alone, else [B, P + N].

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
        return _from_causal(_seen(mask.to(x.device)), x, past)
    raise AdapterError(f"attention_mask must have 2 or 4 axes, not the shape {list(mask.shape)}")


def refuse_documents(position_ids: Tensor | None, real: Bool[Tensor, "B N"]) -> None:
    """Positions that do not rise from one real token to the next begin another document.

    Raises:
        AdapterError: they do so somewhere.
    """
    if position_ids is None or position_ids.ndim != 2 or position_ids.shape[1] != real.shape[1]:
        return
    position = position_ids.to(real.device).expand(len(real), -1).masked_fill(~real, -1)
    earlier = position.cummax(1).values[:, :-1]
    if bool((real[:, 1:] & (position[:, 1:] <= earlier)).any()):
        raise AdapterError(f"position_ids begin anew within a row: {PACKED}")


def _padding(mask: Tensor, x: Tensor, past: int) -> Tensor:
    rows, columns = mask.shape
    if rows != x.shape[0] or columns not in (x.shape[1], past + x.shape[1]):
        raise AdapterError(
            f"attention_mask [{rows}, {columns}] fits neither the {x.shape[0]} rows of {x.shape[1]} tokens nor these "
            f"with the {past} tokens before them"
        )
    if not bool(((mask == 0) | (mask == 1)).all()):
        raise AdapterError(f"attention_mask must hold 0 (padding) and 1 (real) only; other numbers: {PACKED}")
    return mask.bool()


def _seen(mask: Tensor) -> Tensor:
    """True where a key is seen, from a boolean or an additive mask."""
    if mask.dtype == torch.bool:
        return mask
    hidden = mask <= torch.finfo(mask.dtype).min if mask.is_floating_point() else mask == 0
    if mask.is_floating_point() and not bool((hidden | (mask == 0)).all()):
        raise AdapterError(
            "attention_mask adds a bias other than 0 and minus infinity: a HubRouter layer has no logits"
        )
    return ~hidden


def _from_causal(seen: Tensor, x: Tensor, past: int) -> Tensor:
    """Padding is what tokens do not see of themselves or of the past; all else must be causal order."""
    (batch, size), (rows, _, queries, keys) = x.shape[:2], seen.shape
    if rows not in (1, batch) or queries != size or keys < past + size:
        raise AdapterError(f"attention_mask {list(seen.shape)} does not fit {batch} rows of {size} tokens after {past}")
    seen = seen.expand(batch, *seen.shape[1:])
    own = torch.arange(past, past + size, device=seen.device)
    itself = seen[:, 0, torch.arange(size, device=seen.device), own]
    # A padding token's row of the mask is whatever the library likes; the past is told by any real token's row.
    told = (seen[:, 0, :, :past] & itself[..., None]).any(1)
    real = torch.cat([told, itself], dim=1)
    order = torch.arange(keys, device=seen.device) <= own[:, None]
    expected = torch.zeros_like(seen[:, 0]).index_copy(
        2, torch.arange(past + size, device=seen.device), _keys(real, size)
    )
    wrong = (seen != (expected & order)[:, None]) & itself[:, None, :, None]
    if bool(wrong.any()):
        raise AdapterError(_why(bool((wrong & seen).any())))
    return real


def _keys(real: Tensor, queries: int) -> Tensor:
    return real[:, None].expand(-1, queries, -1)


def _why(sees_more: bool) -> str:
    if sees_more:
        return "attention_mask shows tokens their future: a HubRouter layer is causal or bidirectional as a whole"
    return f"attention_mask hides earlier real tokens, as for a sliding window or packed documents; if {PACKED}"
