"""`R`: time mixing as in RWKV, with a state that is a matrix for each head and decays with every token.

The block is Eagle's (RWKV-5, arXiv:2404.05892, section 4.1): token shift, receptance, key, value and gate, a bonus for
the own token, a norm for each head. Our difference: one trained decay a head, as in retention (RetNet,
arXiv:2307.08621), in place of one a channel, so that a chunk is a few matrix products. Strictly causal by its
recurrence, without positions; O(N D E).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hubrouter.config import ModelConfig
from hubrouter.decayed_sums import decayed_sums
from hubrouter.mixers._padding import zeroed
from hubrouter.shapes import Bool, Float

LETTER = "R"


class DecayState(NamedTuple):
    """All that is kept of the tokens before; its size does not grow with their number."""

    last: Float[Tensor, "B 1 D"]  # the last token, for the token shift
    sums: Float[Tensor, "B H E E"]


class DecayMixing(nn.Module):
    """For each head: S_t = w S_(t-1) + k_t v_t^T, y_t = r_t (S_t + diag(u) k_t v_t^T), with a decay w and a bonus u."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, heads = config.d_model, config.n_heads
        self.n_heads, self.chunk = heads, config.ssm_chunk
        # Share of the token before in what r, k, v and the gate read: from none to all over the channels (our choice).
        self.shift = nn.Parameter((torch.arange(width) / width).repeat(4, 1))
        self.shift._no_weight_decay = True  # type: ignore[attr-defined]  # mamba's mark for trainers
        self.project = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(4))
        # First decays 1 - 2^-5, 1 - 2^-6 ... as in RetNet, up to 1 - 2^-12; the decay is exp(-exp(log_rate)).
        first = 1 - 2.0 ** -torch.linspace(5, 12, heads)
        self.log_rate = nn.Parameter(first.log().neg().log())
        self.bonus = nn.Parameter(torch.zeros(width))
        self.norm = nn.LayerNorm(width // heads, elementwise_affine=False)
        self.scale = nn.Parameter(torch.ones(width))
        self.output = nn.Linear(width, width, bias=False)

    def forward(self, x: Float[Tensor, "B N D"], valid: Bool[Tensor, "B N"] | None = None) -> Float[Tensor, "B N D"]:
        """Mix N >= 1 tokens.

        Args:
            x: tokens.
            valid: True where a token is real. The token shift reads zeros at padding, the state decays there and
                nothing is added to it, and outputs at padding are zero.
        """
        return zeroed(self._advance(zeroed(x, valid), valid, None)[0], valid)

    def stream(
        self, x: Float[Tensor, "B N D"], state: DecayState | None = None
    ) -> tuple[Float[Tensor, "B N D"], DecayState]:
        """Mix the next N >= 1 tokens of a stream, in pieces of any sizes; equals `forward` on the whole."""
        return self._advance(x, None, state)

    def _advance(self, x: Tensor, valid: Tensor | None, state: DecayState | None) -> tuple[Tensor, DecayState]:
        r, k, v, gate = self._projected(x, None if state is None else state.last)
        exact = torch.promote_types(x.dtype, torch.float32)
        r, k, v = (tensor.to(exact).unflatten(-1, (self.n_heads, -1)) for tensor in (r, zeroed(k, valid), v))
        k = k / math.sqrt(k.shape[-1])
        rate = -self.log_rate.to(exact).exp().expand(1, x.shape[1], -1)
        before = v.new_zeros(len(x), *k.shape[2:], v.shape[-1]) if state is None else state.sums
        with torch.autocast(x.device.type, enabled=False):  # its matrix products would undo `exact`
            y, sums = decayed_sums(r, k, v, rate, before, self.chunk)
        bonus = self.bonus.to(exact).unflatten(0, (self.n_heads, -1))
        y = self.norm(y + (r * bonus * k).sum(-1, keepdim=True) * v).flatten(2) * self.scale
        # A copy: a view would keep the whole piece in memory.
        return self.output(y.to(x.dtype) * F.silu(gate)), DecayState(x[:, -1:].clone(), sums)

    def _projected(self, x: Tensor, last: Tensor | None) -> list[Tensor]:
        """Receptance, key, value and gate, each of a mixture of a token with the one before."""
        last = torch.zeros_like(x[:, :1]) if last is None else last.to(x.dtype)
        change = torch.cat([last, x[:, :-1]], dim=1) - x
        return [linear(x + share * change) for linear, share in zip(self.project, self.shift, strict=True)]


def build(config: ModelConfig) -> DecayMixing:
    """One layer of the model."""
    return DecayMixing(config)
