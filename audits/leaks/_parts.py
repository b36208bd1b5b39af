"""What the planted leaks share: a small pre-norm model around one mixer, attention step by step, seeded weights.

Axes: B (batch), N (tokens), D (width), V (vocabulary). Sizes and seed are our choice: as small as a leak can live in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audits.leaks._planted import weight_seed

VOCAB = 32
WIDTH = 16
SEED = 20  # any seed would do; a fixed one makes a factory return the same model every time


def seeded(build: Callable[[], nn.Module]) -> nn.Module:
    """Build a module in evaluation mode from a fixed seed, leaving the global random state as it was."""
    with torch.random.fork_rng(devices=[]):
        # The CPU's generator alone: torch.manual_seed would reseed accelerators too.
        torch.default_generator.manual_seed(weight_seed(SEED))
        return build().eval()


class Block(nn.Module):
    """A pre-norm residual block, [B, N, D] -> [B, N, D]: the mixer under test, then a feed-forward layer."""

    def __init__(self, mixer: nn.Module, width: int) -> None:
        super().__init__()
        self.mixer_norm = nn.RMSNorm(width)
        self.mixer = mixer
        self.feed_forward = nn.Sequential(
            nn.RMSNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Mix along the sequence, then transform each position separately."""
        return self.finish(x + self.mixer(self.mixer_norm(x)))

    def finish(self, x: Tensor) -> Tensor:
        """The position-wise half of the block."""
        y: Tensor = x + self.feed_forward(x)
        return y


class Model(nn.Module):
    """Inlet, blocks and head: token ids [B, N] or features [B, N, D] in, [B, N, V] or [B, N, D] out."""

    def __init__(self, inlet: nn.Module, mixers: Iterable[nn.Module], outputs: int, width: int = WIDTH) -> None:
        super().__init__()
        self.inlet = inlet
        self.blocks = nn.ModuleList(Block(mixer, width) for mixer in mixers)
        self.norm = nn.RMSNorm(width)
        self.head = nn.Linear(width, outputs)

    def embed(self, inputs: Tensor) -> Tensor:
        """Inputs to the residual stream [B, N, D]; leaks in the embedding override this."""
        x: Tensor = self.inlet(inputs)
        return x

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs at every position."""
        x = self.embed(inputs)
        for block in self.blocks:
            x = block(x)
        return self.read(x)

    def read(self, x: Tensor) -> Tensor:
        """The residual stream [B, N, D] to outputs."""
        y: Tensor = self.head(self.norm(x))
        return y


def token_model(mixer: Callable[[], nn.Module], layers: int = 1) -> nn.Module:
    """A seeded language model over VOCAB ids with `layers` blocks of this mixer."""
    return seeded(lambda: Model(nn.Embedding(VOCAB, WIDTH), [mixer() for _ in range(layers)], outputs=VOCAB))


def feature_model(mixer: Callable[[], nn.Module], layers: int = 1) -> nn.Module:
    """A seeded model from features [B, N, WIDTH] to features of the same shape."""
    return seeded(lambda: Model(nn.Linear(WIDTH, WIDTH), [mixer() for _ in range(layers)], outputs=WIDTH))


def future(n: int, device: torch.device | None = None) -> Tensor:
    """Which keys are later than the query: bool [N, N], True where key j > query i."""
    return torch.ones(n, n, dtype=torch.bool, device=device).triu(1)


def running_mean(x: Tensor) -> Tensor:
    """The mean of every position and those before it, [B, N, D] -> [B, N, D]."""
    count = torch.arange(1, x.shape[1] + 1, dtype=x.dtype, device=x.device)
    return x.cumsum(1) / count[:, None]


def sink_softmax(scores: Tensor) -> Tensor:
    """Softmax over the last axis with one more key of score 0 and value 0, so that a row without keys yields zeros."""
    return F.pad(scores, (1, 0)).softmax(-1)[..., 1:]


class CausalAttention(nn.Module):
    """Single-head causal attention [B, N, D] -> [B, N, D], one method a step so that a leak can override one."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Attend."""
        scores = self.mask(self.score(self.query(x), self.key(x)), x)
        y: Tensor = self.out(self.weights(scores) @ self.value(x))
        return y

    def score(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Scaled dot products [B, N, N]."""
        return queries @ keys.mT / math.sqrt(queries.shape[-1])

    def mask(self, scores: Tensor, x: Tensor) -> Tensor:  # noqa: ARG002 - leaks select keys by x
        """Scores with the hidden keys at minus infinity."""
        return scores.masked_fill(future(scores.shape[-1], scores.device), -math.inf)

    def weights(self, scores: Tensor) -> Tensor:
        """Attention weights."""
        return sink_softmax(scores)
