"""The layer as one dense computation with a given selection: O(N²), no chunks, no scan, no kernel."""

from __future__ import annotations

import torch
from torch import Tensor

from hubrouter import HubRouter

POSITIONS = (1 << 31) - 1  # the lower half of a selection key counts down from here


def dense(layer: HubRouter, x: Tensor, allowed: Tensor) -> Tensor:
    """Outputs [B, N, D] for tokens [B, N, D].

    Args:
        layer: whose weights and configuration are taken; its code is not.
        x: tokens.
        allowed: True where a query may read a key in the council, [B, N, N].
    """
    config, length = layer.config, x.shape[1]
    q, k, v = layer.project(x).view(*x.shape[:2], 3, config.n_heads, config.head_width).permute(2, 0, 3, 1, 4)
    scale, place = config.head_width**-0.5, torch.arange(length, device=x.device)
    home = place // (config.chunk if config.causal else length)
    border = home * config.chunk if config.causal else home + length
    seen = place < border[:: config.chunk if config.causal else length, None]  # [G, N]: what each chunk's hubs saw
    hubs = layer.encode.hubs
    logits = torch.einsum("hme,bhne->bhmn", hubs, k)[:, :, None] * scale
    logits = logits.expand(-1, -1, len(seen), -1, -1).masked_fill(~seen[:, None], float("-inf"))
    weight = torch.cat([torch.zeros_like(logits[..., :1]), logits], dim=-1).softmax(-1)
    state = weight[..., 1:] @ v[:, :, None] + weight[..., :1] * hubs[:, None]
    mine = state[:, :, home]  # [B, H, N, M, E]
    fingerprint = (torch.einsum("bhne,bhnme->bhnm", q, mine) * scale).softmax(-1)
    score = layer.score.head((fingerprint * config.n_hubs - 1).transpose(1, 2).flatten(2))
    gated = v * score.sigmoid()[:, None]
    turned_q, turned_k = (_turned(part, config.rope_base) for part in (q, k))
    mixed = (turned_q @ turned_k.transpose(-1, -2) * scale).masked_fill(~allowed[:, None], float("-inf")).softmax(-1)
    read = mixed @ gated + torch.einsum("bhnm,bhnme->bhne", fingerprint, mine)
    output: Tensor = layer.output(read.transpose(1, 2).flatten(2))
    return output


def readable(chosen: Tensor, length: int, chunk: int, causal: bool) -> Tensor:
    """The council's mask [B, N, N]: tokens whose keys [B, G, K] were chosen and, if causal, the own chunk so far."""
    place = torch.arange(length, device=chosen.device)
    own = (place[:, None] // chunk == place // chunk) & (place <= place[:, None]) & causal
    filled = (chosen >> 32) > -(1 << 31)
    token = torch.where(filled, POSITIONS - (chosen & POSITIONS), length)
    selected = torch.zeros(*chosen.shape[:2], length + 1, dtype=torch.bool, device=chosen.device)
    selected.scatter_(2, token, True)
    return own | selected[:, place // chunk, :length]


def _turned(x: Tensor, base: float) -> Tensor:
    """Rotary embedding of [B, H, N, E], pairs (i, i + E/2) as complex numbers."""
    half, exact = x.shape[-1] // 2, torch.promote_types(x.dtype, torch.float32)
    frequency = base ** (-torch.arange(half, device=x.device, dtype=exact) / half)
    angle = torch.arange(x.shape[2], device=x.device, dtype=exact)[:, None] * frequency
    phase = torch.polar(torch.ones_like(angle), angle)
    pair = torch.complex(x[..., :half].to(exact), x[..., half:].to(exact)) * phase
    return torch.cat([pair.real, pair.imag], dim=-1).to(x.dtype)
