"""`M`: a Mamba layer as Jamba uses it (Mamba arXiv:2312.00752, Jamba arXiv:2403.19887).

Strictly causal by its recurrence, without attention or positions: output t comes from a convolution over the last few
tokens and a state computed from tokens 0 ... t. Cost O(N D S).
"""

from __future__ import annotations

import math
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hubrouter.config import ModelConfig
from hubrouter.mixers._padding import zeroed
from hubrouter.selective_scan import ScanInputs, selective_scan
from hubrouter.shapes import Bool, Float

LETTER = "M"
NORM_EPS = 1e-6  # as Jamba's
DELTAS = (1e-3, 1e-1)  # mamba's range of the first step sizes, drawn log-uniformly
RATES = (1.0, 16.0)  # Mamba-2's range of the first rates, drawn uniformly


class MambaState(NamedTuple):
    """All that a Mamba layer keeps of the tokens before; its size does not grow with their number."""

    recent: Float[Tensor, "B W I"]  # what scan_input the convolution last, W = ssm_conv - 1
    scan: Float[Tensor, "B I S"]


class Mamba(nn.Module):
    """Gated selective state space layer of inner width I = ssm_expand * D, with S = ssm_state states a channel.

    Parameters carry the names and shapes of Jamba's `JambaMambaMixer`, so weights can be copied one to one. With
    `ssm_heads` the decay and the step size are those of Mamba-2, one a head; the rest of the block stays as it is.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.inner, self.states, self.width = config.ssm_inner, config.ssm_state, config.ssm_conv
        self.impl, self.chunk = config.scan, config.ssm_chunk
        self.rank = math.ceil(config.d_model / 16)  # mamba's `dt_rank="auto"`
        rows = self.inner if config.ssm_heads is None else config.ssm_heads
        self.in_proj = nn.Linear(config.d_model, 2 * self.inner, bias=False)
        self.conv1d = nn.Conv1d(self.inner, self.inner, self.width, groups=self.inner)
        self.x_proj = nn.Linear(self.inner, self.rank + 2 * self.states, bias=False)
        self.dt_proj = nn.Linear(self.rank, rows)
        self.dt_layernorm = nn.RMSNorm(self.rank, eps=NORM_EPS)
        self.b_layernorm = nn.RMSNorm(self.states, eps=NORM_EPS)
        self.c_layernorm = nn.RMSNorm(self.states, eps=NORM_EPS)
        self.A_log = nn.Parameter(_first_rates(config).log())
        self.A_log._no_weight_decay = True  # type: ignore[attr-defined]  # the attribute by which mamba tells trainers to skip it
        self.D = nn.Parameter(torch.ones(self.inner))
        self.out_proj = nn.Linear(self.inner, config.d_model, bias=False)
        self._start_steps()

    def forward(self, x: Float[Tensor, "B N D"], valid: Bool[Tensor, "B N"] | None = None) -> Float[Tensor, "B N D"]:
        """Mix N >= 1 tokens.

        Args:
            x: tokens.
            valid: True where a token is real. The convolution reads zeros at padding, the state does not change
                there, and outputs at padding are zero.
        """
        return zeroed(self._advance(zeroed(x, valid), valid, None)[0], valid)

    def stream(
        self, x: Float[Tensor, "B N D"], state: MambaState | None = None
    ) -> tuple[Float[Tensor, "B N D"], MambaState]:
        """Mix the next N >= 1 tokens of a stream, in pieces of any sizes; equals `forward` on the whole."""
        return self._advance(x, None, state)

    def _advance(self, x: Tensor, valid: Tensor | None, state: MambaState | None) -> tuple[Tensor, MambaState]:
        scan_input, gate = self.in_proj(x).chunk(2, dim=-1)
        recent, first = (scan_input.new_zeros(len(x), self.width - 1, self.inner), None) if state is None else state
        window = torch.cat([recent.to(scan_input.dtype), scan_input], dim=1)
        mixed = F.silu(self._convolve(window))
        y, scanned = selective_scan(self._selected(mixed, valid), first, impl=self.impl, chunk=self.chunk)
        output: Tensor = self.out_proj((y + self.D * mixed) * F.silu(gate))
        # A copy: a view would keep the whole piece in memory.
        return output, MambaState(window[:, x.shape[1] :].clone(), scanned)

    def _convolve(self, window: Float[Tensor, "B T I"]) -> Float[Tensor, "B N I"]:
        """Depthwise and causal; as a sum of shifted copies, which on a CPU is faster than a grouped convolution."""
        length, taps = window.shape[1] - self.width + 1, self.conv1d.weight[:, 0].unbind(1)
        mixed = cast("Tensor", self.conv1d.bias)
        for place, tap in enumerate(taps):
            mixed = mixed + tap * window[:, place : place + length]
        return mixed

    def _selected(self, mixed: Float[Tensor, "B N I"], valid: Bool[Tensor, "B N"] | None) -> ScanInputs:
        """Step size, input and output maps of the state, all computed from the token; RMS-normalised as in Jamba."""
        delta, b, c = self.x_proj(mixed).split([self.rank, self.states, self.states], dim=-1)
        delta = zeroed(F.softplus(self.dt_proj(self.dt_layernorm(delta))), valid)
        a = -self.A_log.to(torch.promote_types(self.A_log.dtype, torch.float32)).exp()
        return ScanInputs(mixed, delta, a, self.b_layernorm(b), self.c_layernorm(c))

    @torch.no_grad()
    def _start_steps(self) -> None:
        """The usual initialisation: softplus of the bias is a step size drawn log-uniformly from `DELTAS`."""
        nn.init.uniform_(self.dt_proj.weight, -(self.rank**-0.5), self.rank**-0.5)
        low, high = map(math.log, DELTAS)
        delta = torch.empty_like(self.dt_proj.bias).uniform_(low, high).exp()
        self.dt_proj.bias.copy_(delta + (-torch.expm1(-delta)).log())  # the inverse of softplus


def _first_rates(config: ModelConfig) -> Float[Tensor, "R T"]:
    """First rates, sign left out: 1 ... S for every channel (Mamba-1), or one drawn for each head (Mamba-2)."""
    if config.ssm_heads is not None:
        return torch.empty(config.ssm_heads, 1).uniform_(*RATES)
    return torch.arange(1.0, config.ssm_state + 1).repeat(config.ssm_inner, 1)


def build(config: ModelConfig) -> Mamba:
    """One Mamba layer of the model."""
    return Mamba(config)
