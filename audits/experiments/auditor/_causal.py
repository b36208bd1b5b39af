"""Causal models that are no control of a planted leak: common layers of torch, and two that round far and wide."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

VOCAB, WIDTH = 24, 16


class Recurrent(nn.Module):
    """A recurrent layer of torch."""

    def __init__(self, cell: nn.RNNBase) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, D] to [B, N, D]."""
        y: Tensor = self.cell(x)[0]
        return y


class FusedAttention(nn.Module):
    """Two heads of torch's fused attention, set to be causal."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(WIDTH, 3 * WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, D] to [B, N, D]."""
        query, key, value = (part.unflatten(-1, (2, -1)).transpose(1, 2) for part in self.project(x).chunk(3, -1))
        return F.scaled_dot_product_attention(query, key, value, is_causal=True).transpose(1, 2).flatten(2)


class FourierConvolution(nn.Module):
    """A causal convolution by FFT: its rounding reaches every position."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(WIDTH, 64))

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, D] to [B, N, D], N up to 64."""
        n = x.shape[1]
        spectrum = torch.fft.rfft(x.mT, n=2 * n) * torch.fft.rfft(self.kernel[:, :n], n=2 * n)
        y: Tensor = torch.fft.irfft(spectrum, n=2 * n)[..., :n].mT
        return y


class TotalMinusSuffix(nn.Module):
    """A prefix sum that touches the whole sequence: only rounding remains of the future."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, D] to [B, N, D]."""
        return x.sum(1, keepdim=True) - x.flip(1).cumsum(1).flip(1)


class Encoder(nn.Module):
    """Torch's encoder layer with the causal mask."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(WIDTH, 2, 2 * WIDTH, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, D] to [B, N, D]."""
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1], dtype=x.dtype)
        y: Tensor = self.layer(x, src_mask=mask, is_causal=True)
        return y


class Tokens(nn.Module):
    """Embedding, residual mixer, head: int64 [B, N] to [B, N, V]."""

    def __init__(self, mixer: nn.Module) -> None:
        super().__init__()
        self.embedding, self.mixer, self.head = nn.Embedding(VOCAB, WIDTH), mixer, nn.Linear(WIDTH, VOCAB)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits at every position."""
        x = self.embedding(tokens)
        y: Tensor = self.head(x + self.mixer(x))
        return y


CAUSAL: dict[str, Callable[[], nn.Module]] = {
    "LSTM": lambda: Recurrent(nn.LSTM(WIDTH, WIDTH, batch_first=True)),
    "GRU": lambda: Recurrent(nn.GRU(WIDTH, WIDTH, batch_first=True)),
    "fused attention": FusedAttention,
    "encoder layer": Encoder,
    "convolution by FFT": FourierConvolution,
    "total minus suffix": TotalMinusSuffix,
}


def causal_model(name: str, seed: int) -> nn.Module:
    """A causal model with the weights of a seed, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Tokens(CAUSAL[name]()).eval()
