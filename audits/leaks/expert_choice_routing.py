"""Expert-choice routing: each expert takes its top tokens of the sequence, so tokens compete with later ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audits.leaks._parts import VOCAB, WIDTH, token_model
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass

EXPERTS = 4


class TokenChoice(nn.Module):
    """A mixture of linear experts, [B, N, D] -> [B, N, D], in which each token takes its best expert.

    A gate depends on its own token alone, so that only the choice can leak.
    """

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(WIDTH, EXPERTS, bias=False)
        self.experts = nn.Linear(WIDTH, EXPERTS * WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """The gated sum of the experts that process each token."""
        scores: Tensor = self.router(x)
        outputs = self.experts(x).reshape(*scores.shape, WIDTH)
        gates = scores.sigmoid().where(self.assign(scores), 0.0)
        y: Tensor = (gates[..., None] * outputs).sum(2)
        return y

    def assign(self, scores: Tensor) -> Tensor:
        """Which expert processes which token: bool [B, N, EXPERTS], one expert a token."""
        best = scores.argmax(2, keepdim=True)
        return torch.zeros_like(scores, dtype=torch.bool).scatter(2, best, value=True)


class ExpertChoice(TokenChoice):
    """The same, but the experts choose."""

    def assign(self, scores: Tensor) -> Tensor:
        """Each expert takes its best share of the sequence: the planted defect."""
        capacity = -(-scores.shape[1] // EXPERTS)
        best = scores.topk(capacity, dim=1).indices
        return torch.zeros_like(scores, dtype=torch.bool).scatter(1, best, value=True)


def leaky() -> nn.Module:
    """The model whose experts choose tokens."""
    return token_model(ExpertChoice, layers=2)


def clean() -> nn.Module:
    """The model whose tokens choose experts."""
    return token_model(TokenChoice, layers=2)


LEAK = PlantedLeak(
    name="expert_choice_routing",
    mechanism="A token loses its expert when later tokens score higher: experts take their top tokens of the sequence.",
    origin="allenai/OLMoE#46",
    leak_class=LeakClass.SELECTION,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
)
