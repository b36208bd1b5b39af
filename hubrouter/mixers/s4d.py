"""`S`: S4D, a diagonal complex state space with the same step sizes for every token (arXiv:2206.11893).

The rates start as S4D-Lin's (an approximation of HiPPO) and are discretised by zero-order hold. The output is computed
in chunks: by a lower triangular Toeplitz matrix of the kernel within a chunk, and by the state between chunks. So a
later token enters an earlier output with a weight of exactly 0, which a Fourier transform of the sequence would not
give. Strictly causal by its recurrence, without positions; O(N D (C + S)).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hubrouter.borders import Affine, at_borders
from hubrouter.config import ModelConfig
from hubrouter.mixers._padding import zeroed
from hubrouter.shapes import Bool, Float

LETTER = "S"
STEPS = (1e-3, 1e-1)  # S4's range of the first step sizes, drawn log-uniformly


class StateSpace(nn.Module):
    """S = `ssm_state` complex states a channel, each for a conjugate pair, then GELU and a gated linear map.

    For channel d: h_t = exp(step rate) h_(t-1) + (exp(step rate) - 1) / rate x_t, y_t = 2 Re(read . h_t) + skip x_t.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, states = config.d_model, config.ssm_state
        self.chunk = config.ssm_chunk
        self.log_step = nn.Parameter(torch.empty(width).uniform_(*map(math.log, STEPS)))
        # The rate is -exp(log_decay) + i frequency; S4D-Lin starts with -1/2 + i pi n.
        self.log_decay = nn.Parameter(torch.full((width, states), math.log(0.5)))
        self.frequency = nn.Parameter((math.pi * torch.arange(states)).repeat(width, 1))
        for rates in (self.log_decay, self.frequency):
            rates._no_weight_decay = True  # type: ignore[attr-defined]  # mamba's mark for trainers
        self.read = nn.Parameter(torch.randn(width, states, 2) * 0.5**0.5)  # real and imaginary part
        self.skip = nn.Parameter(torch.randn(width))
        self.output = nn.Linear(width, 2 * width)

    def forward(self, x: Float[Tensor, "B N D"], valid: Bool[Tensor, "B N"] | None = None) -> Float[Tensor, "B N D"]:
        """Mix N >= 1 tokens; `valid` is True where a token is real.

        Padding is read as zeros, the state decays there, and outputs at padding are zero.
        """
        return zeroed(self._advance(zeroed(x, valid), None)[0], valid)

    def stream(self, x: Float[Tensor, "B N D"], state: Tensor | None = None) -> tuple[Float[Tensor, "B N D"], Tensor]:
        """Mix the next N >= 1 tokens of a stream, in pieces of any sizes; the state is complex, [B, D, S]."""
        return self._advance(x, state)

    def _advance(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        exact = x.to(torch.promote_types(x.dtype, torch.float32))
        with torch.autocast(x.device.type, enabled=False):  # its matrix products would undo `exact`
            y, state = _convolved(exact, self._kernels(exact.dtype, min(self.chunk, x.shape[1])), state)
            y = F.gelu(y + self.skip * exact)
        return F.glu(self.output(y.to(x.dtype)), dim=-1), state

    def _kernels(self, dtype: torch.dtype, chunk: int) -> _Kernels:
        """What a chunk of this many tokens is multiplied with, in complex numbers of this dtype."""
        rate = torch.complex(-self.log_decay.to(dtype).exp(), self.frequency.to(dtype))
        exponent = rate * self.log_step.to(dtype).exp()[:, None]
        powers = (exponent[..., None] * torch.arange(chunk + 1, device=rate.device)).exp()
        write = torch.expm1(exponent) / rate
        read = 2 * torch.view_as_complex(self.read.to(dtype))
        return _Kernels(powers, write[..., None] * powers[..., :-1], read[..., None] * powers[..., 1:], read)


class _Kernels(NamedTuple):
    """For a chunk of C tokens, all complex."""

    powers: Tensor  # [D, S, C + 1]: what becomes of a state after 0 ... C tokens
    added: Tensor  # [D, S, C]: what becomes of a token after 0 ... C - 1 more
    seen: Tensor  # [D, S, C]: how outputs 0 ... C - 1 read the state before the chunk
    read: Tensor  # [D, S]


def _convolved(x: Float[Tensor, "B N D"], by: _Kernels, first: Tensor | None) -> tuple[Float[Tensor, "B N D"], Tensor]:
    """Outputs of all tokens and the state after the last, [B, D, S]."""
    (batch, length, _), chunk = x.shape, by.added.shape[-1]
    rows = F.pad(x, (0, 0, 0, -length % chunk)).unflatten(1, (-1, chunk)).permute(3, 0, 1, 2)  # [D, B, G, C]
    rows = rows.flatten(1, 2)
    impulse = (by.read[..., None] * by.added).sum(1).real  # [D, C]
    own = rows @ _toeplitz(impulse).mT
    whole = _times(rows, by.added.flip(-1).mT).unflatten(1, (batch, -1)).permute(1, 2, 0, 3)  # [B, G, D, S]
    if first is None:
        first = torch.zeros_like(whole[:, 0])
    decay = by.powers[..., -1].expand(1, whole.shape[1], -1, -1)
    states = at_borders(Affine(decay, whole), first)[:, :-1]
    before = states.permute(2, 0, 1, 3).flatten(1, 2)  # [D, B * G, S]
    earlier = before.real @ by.seen.real - before.imag @ by.seen.imag
    y = (own + earlier).unflatten(1, (batch, -1)).flatten(2).permute(1, 2, 0)[:, :length]
    # The last chunk may be incomplete: what follows it are zeros, but the state must not decay with them.
    rest = length - (states.shape[1] - 1) * chunk
    last = _times(rows.unflatten(1, (batch, -1))[:, :, -1, :rest], by.added[..., :rest].flip(-1).mT)
    return y, last.transpose(0, 1) + states[:, -1] * by.powers[..., rest]


def _times(real: Tensor, other: Tensor) -> Tensor:
    """The product of a real and a complex matrix."""
    return torch.complex(real @ other.real, real @ other.imag)


def _toeplitz(impulse: Float[Tensor, "D C"]) -> Float[Tensor, "D C C"]:
    """Lower triangular, entry (i, j) the response after i - j tokens."""
    size = impulse.shape[-1]
    delay = torch.arange(size, device=impulse.device)
    delay = delay[:, None] - delay
    return impulse[:, delay.clamp(min=0)].masked_fill(delay < 0, 0)


def build(config: ModelConfig) -> StateSpace:
    """One layer of the model."""
    return StateSpace(config)
