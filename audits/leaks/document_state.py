"""A recurrent state that is reset where a chunk begins, and so only for documents that begin there."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audits.leaks._packed import ByBorders, packed_model, starts
from audits.leaks._parts import VOCAB, WIDTH
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass

CHUNK = 8


class GatedState(nn.Module):
    """A gated running sum along each document, [B, N, D] -> [B, N, D]."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.value = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, x: Tensor, documents: Tensor) -> Tensor:
        """The state after every position; at a reset it forgets what was before."""
        kept = self.gate(x).sigmoid() * ~self.resets(documents)[..., None]
        state, states = torch.zeros_like(x[:, 0]), []
        for keep, value in zip(kept.unbind(1), self.value(x).unbind(1), strict=True):
            state = keep * state + value
            states.append(state)
        return torch.stack(states, dim=1)

    def resets(self, documents: Tensor) -> Tensor:
        """Where the state is forgotten: bool [B, N]."""
        return starts(documents)


class ChunkedReset(GatedState):
    """The same, looking at borders only between chunks."""

    def resets(self, documents: Tensor) -> Tensor:
        """At a chunk's first position, if its document is another than the position's before: the planted defect."""
        first = torch.arange(documents.shape[1], device=documents.device) % CHUNK == 0
        return starts(documents) & first


def leaky() -> nn.Module:
    """The model whose state runs on over borders inside a chunk."""
    return packed_model(ByBorders, ChunkedReset)


def clean() -> nn.Module:
    """The model whose state is reset at every border."""
    return packed_model(ByBorders, GatedState)


LEAK = PlantedLeak(
    name="document_state",
    mechanism="A recurrent state is carried into a packed document unless that begins on the edge of a chunk of 8.",
    origin="our own attack: on audits that pack documents on chunk edges; after axolotl#3796",
    leak_class=LeakClass.DOCUMENT,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
)
