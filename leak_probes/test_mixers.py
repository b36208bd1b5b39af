"""Every kind of layer by itself, under the direct checks, and a planted mistake of each efficient-attention layer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from cases import Case
from checks import Check, gradient, other_rows, prefix_length, repeat_call, stream_in_pieces, suffix_swap
from torch import Tensor
from torch.nn import functional as F

from hubrouter.mixers.compressed import CompressedAttention
from hubrouter.mixers.discover import builders
from hubrouter.mixers.linear import LinearAttention
from hubrouter.mixers.performer import Performer
from hubrouter.mixers.rwkv import DecayMixing
from hubrouter.mixers.s4d import StateSpace, _convolved
from hubrouter.mixers.window import WindowAttention, WindowState

CHECKS = (suffix_swap, prefix_length, stream_in_pieces, other_rows, repeat_call, gradient)
CASE = Case(batch=2, length=19, n_heads=2, pairs=2, n_hubs=3, k=5, chunk=4, neighbours=1, seed=1)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("letter", sorted(set(builders()) - {"H"}))
def test_a_layer_is_strictly_causal(letter: str, check: Check) -> None:
    """Across chunks, blocks and windows, the last of them incomplete."""
    check(replace(CASE, layer=letter))


class WholeBlocks(WindowAttention):
    """A planted leak: the own block is read to its end, without a mask."""

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """Block-local attention."""
        del valid
        q, k, v = self.heads(x, 0)
        block = torch.arange(x.shape[1]) // self.window
        mask = block[:, None] >= block
        return self._merge(F.scaled_dot_product_attention(q, k, v, attn_mask=mask))


class ForgetfulWindow(WindowAttention):
    """A planted defect: the stream keeps one token too few."""

    def stream(self, x: Tensor, state: WindowState | None = None) -> tuple[Tensor, WindowState]:
        """The last W - 2 tokens only."""
        output, (k, v, position) = super().stream(x, state)
        return output, WindowState(k[:, :, 1:], v[:, :, 1:], position)


class NormalisedOverAll(LinearAttention):
    """A planted leak: weights are normalised over the whole sequence."""

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """Sums over the prefix, divided by the weight of all."""
        del valid
        q, k, v = (tensor.to(x.dtype) for tensor in self.heads(x, 0))
        q, k = F.elu(q) + 1, F.elu(k) + 1
        weights = q @ k.mT
        return self._merge(weights.tril() @ v / weights.sum(-1, keepdim=True))


class StabilisedOverAll(Performer):
    """A planted leak of rounding: the stabiliser is the largest exponent of all tokens, as it is often written."""

    def weighted(self, q: Tensor, k: Tensor, real: Tensor, peak: Tensor | None) -> Any:
        """As if an earlier token had had that exponent already."""
        del peak
        return super().weighted(q, k, real, self._exponents(k).detach().amax((1, 3)))


class ShiftedBackwards(DecayMixing):
    """A planted leak: the token shift reads the token after."""

    def _projected(self, x: Tensor, last: Tensor | None) -> list[Tensor]:
        return [part.flip(1) for part in super()._projected(x.flip(1), last)]


class CompressedTooEarly(CompressedAttention):
    """A planted leak: a block is read compressed by its own tokens, before it is complete."""

    def _mixed(self, q: Tensor, recent: Any, short: Any, closed: int) -> Tensor:
        return super()._mixed(q, recent, short, closed + 1)


class ByFourier(StateSpace):
    """A convolution by Fourier transform; padded with zeros it is causal but for rounding, without them it wraps."""

    padding = 0

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """The kernel is the response to an impulse."""
        del valid
        size = (1 + self.padding) * x.shape[1]
        impulse = torch.zeros_like(x[:1])
        impulse[:, 0] = 1
        kernel, _ = _convolved(impulse, self._kernels(x.dtype, self.chunk), None)
        y = torch.fft.irfft(torch.fft.rfft(x, size, 1) * torch.fft.rfft(kernel, size, 1), size, 1)[:, : x.shape[1]]
        return F.glu(self.output(F.gelu(y + self.skip * x)))


class ByPaddedFourier(ByFourier):
    """Causal in exact arithmetic."""

    padding = 1


DETECTED = [
    (WholeBlocks, suffix_swap),
    (WholeBlocks, gradient),
    (ForgetfulWindow, stream_in_pieces),
    (NormalisedOverAll, suffix_swap),
    (NormalisedOverAll, prefix_length),
    (StabilisedOverAll, suffix_swap),
    (ShiftedBackwards, suffix_swap),
    (ShiftedBackwards, gradient),
    (CompressedTooEarly, suffix_swap),
    (CompressedTooEarly, gradient),
    (ByFourier, suffix_swap),
    (ByPaddedFourier, suffix_swap),
]


@pytest.mark.parametrize(("planted", "check"), DETECTED)
def test_a_mistake_is_detected(planted: Any, check: Check) -> None:
    """In an otherwise equal layer with the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(CASE.seed)
        layer = CASE.prepared(planted(CASE.config()))
    with pytest.raises(AssertionError, match=r"reproduce: "):
        check(CASE, layer)


@torch.no_grad()
def test_the_padded_fourier_transform_is_the_same_layer_but_for_rounding() -> None:
    """So that its leak is one of rounding and of nothing else."""
    layer = replace(CASE, layer="S").build()
    planted = CASE.prepared(ByPaddedFourier(CASE.config()))
    planted.load_state_dict(layer.state_dict())
    torch.testing.assert_close(planted(CASE.inputs()), layer(CASE.inputs()), rtol=0, atol=1e-12)
