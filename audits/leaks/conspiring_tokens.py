"""A ranking that only the right tokens in a row can upset: what the adversary is for."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from audits.leaks._planted import PlantedLeak, weight_seed
from audits.results import LeakClass

VOCAB = 512
SPAN = 4
INCUMBENT = 3.9  # deviations


class ConspiringTokens(nn.Module):
    """Everybody reads the strongest bidder. A bid sums the last four tokens' strengths, which depend on the position.

    The first token bids so high that it wins unless four strong tokens meet.
    """

    def __init__(self, *, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        self.embedding = nn.Embedding(VOCAB, 16)
        self.strength = nn.Embedding(VOCAB, SPAN)
        self.head = nn.Linear(16, VOCAB)

    def bids(self, tokens: Tensor) -> Tensor:
        """[B, N] bids, of deviation 1; the first token's is fixed at INCUMBENT."""
        length = tokens.shape[1]
        own = self.strength(tokens)[:, torch.arange(length), torch.arange(length) % SPAN]
        bids = functional.pad(own, (SPAN - 1, 0)).unfold(1, SPAN, 1).sum(-1) / SPAN**0.5
        return torch.cat([torch.full_like(bids[:, :1], INCUMBENT), bids[:, 1:]], dim=1)

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, N] tokens to [B, N, V]: own features plus those of the winner."""
        x, bids = self.embedding(tokens), self.bids(tokens)
        overall = bids.argmax(1, keepdim=True).expand_as(tokens)
        winner = bids.cummax(1).indices if self.causal else overall
        logits: Tensor = self.head(x + x.gather(1, winner[..., None].expand_as(x)))
        return logits


def _build(*, causal: bool) -> ConspiringTokens:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(weight_seed(0))
        return ConspiringTokens(causal=causal)


def leaky() -> ConspiringTokens:
    """The winner is sought in the whole sequence."""
    return _build(causal=False)


def clean() -> ConspiringTokens:
    """The winner is sought among the tokens so far."""
    return _build(causal=True)


LEAK = PlantedLeak(
    name="conspiring_tokens",
    mechanism="A global argmax that hardly any random suffix changes: four strong tokens must meet.",
    origin="our own attack on random suffixes",
    leak_class=LeakClass.SELECTION,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
)
