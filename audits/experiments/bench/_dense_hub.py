"""The layer as one dense computation with a given selection: O(N²), no chunks, no scan, no kernel."""

from __future__ import annotations

import torch
from torch import Tensor

from hubrouter import HubRouter, RouterConfig

LEAST = 1e-4  # the least spread of summaries that is scaled up to 1
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
    fingerprint, read = _decoded(layer, q, mine)
    score = layer.score.head((fingerprint * config.n_hubs - 1).transpose(1, 2).flatten(2))
    gated = v * score.sigmoid()[:, None]
    turned_q, turned_k = (_turned(part, config.rope_base) for part in (q, k))
    logits, read_at_all = turned_q @ turned_k.transpose(-1, -2) * scale, allowed[:, None]
    weights = logits.masked_fill(~read_at_all, torch.finfo(logits.dtype).min).softmax(-1) * read_at_all
    mixed = weights @ gated
    if config.readout:
        mixed = mixed + torch.einsum("bhnm,bhnme->bhne", fingerprint, read)
    output: Tensor = layer.output(mixed.transpose(1, 2).flatten(2))
    return output


def _decoded(layer: HubRouter, q: Tensor, hubs: Tensor) -> tuple[Tensor, Tensor]:
    """Softmax [B, H, N, M] of queries [B, H, N, E] against the normalised open hubs, and these [B, H, N, M, E]."""
    gates = None if layer.gates is None else layer.gates.gates()
    kept = torch.ones_like(hubs[0, 0, 0, :, 0], dtype=torch.bool) if gates is None else gates > 0
    exact = hubs.to(torch.promote_types(hubs.dtype, torch.float32))
    centred = exact - exact[..., kept, :].mean(-2, keepdim=True) * (kept.sum() > 1)
    spread = (centred[..., kept, :].square().mean((-2, -1), keepdim=True) + LEAST**2).sqrt()
    normalised = (centred / spread).to(q.dtype)
    logits = torch.einsum("bhne,bhnme->bhnm", q, normalised) * q.shape[-1] ** -0.5
    if gates is not None:
        logits = logits + gates.masked_fill(~kept, 1).log()
    return logits.masked_fill(~kept, float("-inf")).softmax(-1), normalised


def tokens(chosen: Tensor, length: int) -> Tensor:
    """Positions of chosen tokens from the kernels' keys, of any shape; `length` for an empty slot."""
    return torch.where((chosen >> 32) > -(1 << 31), POSITIONS - (chosen & POSITIONS), length)


def readable(token: Tensor, length: int, config: RouterConfig) -> Tensor:
    """The council's mask [B, N, N]: the tokens [B, G, K] selected for each chunk, and the own chunk so far where read.

    `length` as a token is an empty slot.
    """
    place = torch.arange(length, device=token.device)
    home = place // config.chunk if config.causal else torch.zeros_like(place)
    own = (home[:, None] == home) & (place <= place[:, None]) & config.reads_chunk
    selected = torch.zeros(*token.shape[:2], length + 1, dtype=torch.bool, device=token.device)
    if config.slots:
        selected.scatter_(2, token, True)
    return own | selected[:, home, :length]


def _turned(x: Tensor, base: float) -> Tensor:
    """Rotary embedding of [B, H, N, E], pairs (i, i + E/2) as complex numbers."""
    half, exact = x.shape[-1] // 2, torch.promote_types(x.dtype, torch.float32)
    frequency = base ** (-torch.arange(half, device=x.device, dtype=exact) / half)
    angle = torch.arange(x.shape[2], device=x.device, dtype=exact)[:, None] * frequency
    phase = torch.polar(torch.ones_like(angle), angle)
    pair = torch.complex(x[..., :half].to(exact), x[..., half:].to(exact)) * phase
    return torch.cat([pair.real, pair.imag], dim=-1).to(x.dtype)
