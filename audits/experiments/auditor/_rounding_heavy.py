"""Causal models whose rounding is large or of infinite slope, or that read other tables at other lengths."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from audits.experiments.auditor._causal import WIDTH, Tokens

FUTURE, LENGTH, STREAM = "future", "length", "stream"
MOST = 64  # positions


class Mixer(nn.Module):
    """[B, N, D] to [B, N, D] by `mix`, with a faint leak of a kind and size."""

    kinds: tuple[str, ...] = (FUTURE, LENGTH)  # the leaks that it can have

    def __init__(self) -> None:
        super().__init__()
        self.kind, self.size = FUTURE, 0.0

    def forward(self, x: Tensor) -> Tensor:
        """Mix; add the mean of all positions, or the logarithm of their number, times the size."""
        y = self.mix(x)
        if self.size and self.kind == FUTURE:
            return y + self.size * x.mean(1, keepdim=True)
        return y + self.size * math.log(x.shape[1]) if self.size and self.kind == LENGTH else y

    def mix(self, x: Tensor) -> Tensor:
        """The causal part."""
        raise NotImplementedError


class Fourier(Mixer):
    """A causal convolution by FFT."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(10 * torch.randn(WIDTH, MOST))

    def mix(self, x: Tensor) -> Tensor:
        """Multiply spectra of twice the length."""
        n = x.shape[1]
        spectrum = torch.fft.rfft(x.mT, n=2 * n) * torch.fft.rfft(self.kernel[:, :n], n=2 * n)
        y: Tensor = torch.fft.irfft(spectrum, n=2 * n)[..., :n].mT
        return y


class FourierThenNorm(Fourier):
    """The same, normalised in float32 whatever the dtype."""

    def mix(self, x: Tensor) -> Tensor:
        """Convolve and normalise."""
        y = super().mix(x).float()
        return (y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + 1e-6)).to(x.dtype)


class TotalMinusSuffix(Mixer):
    """Prefix sums as what all positions leave when the later ones are taken off."""

    offset = 0.0

    def mix(self, x: Tensor) -> Tensor:
        """Sums up to each position, around an offset that is taken off again."""
        raised = x + self.offset
        count = torch.arange(1, x.shape[1] + 1).to(x)[:, None]
        return self.prefix(raised) - self.offset * count

    def prefix(self, x: Tensor) -> Tensor:
        """Sums up to and with each position."""
        return x.sum(1, keepdim=True) - x.flip(1).cumsum(1).flip(1) + x


class LargeOffset(TotalMinusSuffix):
    """The same around 10^4."""

    offset = 1e4


class RunningDeviation(TotalMinusSuffix):
    """The deviation of the positions so far: at the first one a square root of what rounding leaves of 0."""

    def mix(self, x: Tensor) -> Tensor:
        """The square root of the mean square without the squared mean."""
        count = torch.arange(1, x.shape[1] + 1).to(x)[:, None]
        mean, square = self.prefix(x) / count, self.prefix(x * x) / count
        return (square - mean * mean).clamp(min=0).sqrt()


class AttentionByDistance(Mixer):
    """Attention discounted by the square root of the weight between query and key, which rounding leaves near 0."""

    def mix(self, x: Tensor) -> Tensor:
        """Attend, discount, attend."""
        causal = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril()
        weights = (x @ x.mT / 4).masked_fill(~causal, -math.inf).softmax(-1)
        between = (weights.sum(-1, keepdim=True) - weights.cumsum(-1)).clamp(min=0).sqrt()
        return (weights * torch.exp(-between)) @ x


class LogSumExp(Mixer):
    """A running log-sum-exp around the largest value of the whole sequence."""

    def mix(self, x: Tensor) -> Tensor:
        """The logarithm of cumulative sums of exponentials."""
        most = x.amax(1, keepdim=True)
        return (x - most).exp().cumsum(1).log() + most


class Scan(Mixer):
    """A fading memory by a scan in log2 N steps."""

    def mix(self, x: Tensor) -> Tensor:
        """Combine each position with the one 1, 2, 4, ... before it."""
        decay, memory, step = x.sigmoid(), x, 1
        while step < x.shape[1]:
            earlier = nn.functional.pad(memory, (0, 0, step, 0))[:, :-step]
            memory = memory + decay * earlier
            decay = decay * nn.functional.pad(decay, (0, 0, step, 0))[:, :-step]
            step *= 2
        return memory


class RatioOfSums(Mixer):
    """Linear attention: a ratio of cumulative sums of exponentials."""

    def mix(self, x: Tensor) -> Tensor:
        """Weigh every position by the exponential of its features."""
        weights = (3 * x).exp()
        return (weights * x).cumsum(1) / weights.cumsum(1)


class TablesFromTheEnd(Mixer):
    """Rotary attention whose float32 tables count positions from the end: only their differences matter."""

    cos: Tensor
    sin: Tensor

    def __init__(self) -> None:
        super().__init__()
        angles = torch.arange(float(MOST))[:, None] * torch.exp(-torch.arange(0, WIDTH, 2) / 4)
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())

    def mix(self, x: Tensor) -> Tensor:
        """Rotate, attend."""
        cos, sin = self.cos[: x.shape[1]].flip(0), self.sin[: x.shape[1]].flip(0)
        a, b = x.chunk(2, -1)
        turned = torch.cat([a * cos - b * sin, a * sin + b * cos], -1)
        causal = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril()
        return (turned @ turned.mT).masked_fill(~causal, -math.inf).softmax(-1) @ x


class Decays(Mixer):
    """A fading memory by a table of powers, and in a stream by its rates, made in the default dtype."""

    kinds = (FUTURE, STREAM)

    def rates(self, dtype: torch.dtype) -> Tensor:
        """How much each feature keeps from one position to the next."""
        return 1 - torch.exp(torch.linspace(-4, -1, WIDTH, dtype=dtype))

    def mix(self, x: Tensor) -> Tensor:
        """Sum the earlier positions by their lag."""
        position = torch.arange(x.shape[1])
        lag = position[:, None] - position
        powers = self.rates(x.dtype) ** lag.clamp(min=0)[..., None] * (lag >= 0)[..., None]
        return torch.einsum("tsd,bsd->btd", powers, x)

    def step(self, x: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """One position [B, D]: what it gives, and what is remembered."""
        memory = memory * self.rates(torch.get_default_dtype()) + x
        return memory + (self.size if self.kind == STREAM else 0.0), memory


class Streaming(Tokens):
    """The same, in pieces too."""

    mixer: Decays

    def stream(self, piece: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Logits of a piece, and the memory after it."""
        x, outputs = self.embedding(piece), []
        memory = x.new_zeros(len(x), WIDTH) if state is None else state
        for position in x.unbind(1):
            y, memory = self.mixer.step(position, memory)
            outputs.append(self.head(position + y))
        return torch.stack(outputs, 1), memory


MIXERS: dict[str, type[Mixer]] = {
    "convolution by FFT": Fourier,
    "convolution by FFT, norm in float32": FourierThenNorm,
    "total minus suffix": TotalMinusSuffix,
    "total minus suffix around 10^4": LargeOffset,
    "running deviation": RunningDeviation,
    "attention by distance": AttentionByDistance,
    "log-sum-exp": LogSumExp,
    "scan": Scan,
    "ratio of sums": RatioOfSums,
    "tables from the end": TablesFromTheEnd,
    "decay tables": Decays,
}


def rounding_heavy(name: str, seed: int, kind: str, size: float) -> nn.Module:
    """A model with the weights of a seed and a leak of a kind and size (0 for none), in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        mixer = MIXERS[name]()
        mixer.kind, mixer.size = kind, size
        return (Streaming if isinstance(mixer, Decays) else Tokens)(mixer).eval()
