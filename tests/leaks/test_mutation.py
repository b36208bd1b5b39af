"""Faults injected into a module tree: brute force sees each where it is meant to show, and nothing without one."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audits.experiments.auditor._brute_force import Trial, live
from audits.leaks._mutation import FAULTS, inject, sites

VOCAB, WIDTH, LENGTH = 12, 8, 20


class Layer(nn.Module):
    """Causal attention by a mask of torch's, or by a softmax of scores; a causal convolution; a cumulative sum."""

    def __init__(self, *, fused: bool) -> None:
        super().__init__()
        self.fused = fused
        self.convolution = nn.Conv1d(WIDTH, WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        if self.fused:
            mixed = F.scaled_dot_product_attention(x[:, None], x[:, None], x[:, None], is_causal=True)[:, 0]
        else:
            later = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
            mixed = torch.softmax((x @ x.mT).masked_fill(later, float("-inf")), -1) @ x
        convolved = self.convolution(F.pad(x, (0, 0, 2, 0)).mT).mT
        y: Tensor = x + mixed + convolved + torch.cumsum(x, dim=1) / 30
        return y


class Model(nn.Module):
    """Two layers between embedding and head."""

    def __init__(self, *, fused: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.head = nn.Embedding(VOCAB, WIDTH), nn.Linear(WIDTH, VOCAB)
        self.layers = nn.Sequential(Layer(fused=fused), Layer(fused=fused))

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.head(self.layers(self.embedding(tokens)))
        return logits


def trial(steps: Callable[[nn.Module, Tensor], Tensor] | None = None) -> Trial:
    return Trial(VOCAB, LENGTH, lambda model, tokens: model(tokens), steps, 0, draws=2)


def mutated(name: str, site: str = "layers.1", *, fused: bool = False) -> tuple[nn.Module, nn.Module]:
    clean = Model(fused=fused).eval()
    mutant = copy.deepcopy(clean)
    inject(mutant, site, FAULTS[name])
    return clean, mutant


SHOWN = {  # a circumstance in which a fault must show, and one in which it must not
    "next position": ("future", "rows"),
    "faint next position": ("future", "calls"),
    "centred over time": ("future", "rows"),
    "scaled by a detached spread": ("future", "calls"),
    "kept by rank": ("future", "rows"),
    "last position to first": ("future", "rows"),
    "later rows only": ("future", "length"),
    "batch mean": ("rows", "length"),
    "by length": ("length", "future"),
    "by earlier calls": ("calls", None),
    "in training only": ("future, training", "future"),
    "in single precision only": ("future, float32", "future"),
    "mask shifted": ("future", "rows"),
    "convolution padded on both sides": ("future", "rows"),
    "sums from the end": ("future", "rows"),
}


@pytest.mark.parametrize("name", SHOWN)
def test_a_fault_shows_where_it_is_meant_to(name: str) -> None:
    shown = live(trial(), *mutated(name))
    wanted, other = SHOWN[name]
    assert wanted in shown
    assert other not in shown


def test_every_fault_is_tried_here() -> None:
    assert FAULTS.keys() - SHOWN.keys() == {"in single steps"}


def test_a_wrong_mask_reaches_fused_attention_too() -> None:
    assert "future" in live(trial(), *mutated("mask shifted", fused=True))


def test_a_fault_of_single_steps_shows_in_decoding_alone() -> None:
    by_token = trial(lambda model, tokens: torch.cat([model(token) for token in tokens.split(1, dim=1)], 1))
    clean = nn.Sequential(nn.Embedding(VOCAB, WIDTH), nn.Linear(WIDTH, VOCAB)).eval()
    mutant = copy.deepcopy(clean)
    inject(mutant, "1", FAULTS["in single steps"])
    assert set(live(by_token, clean, mutant)) == {"steps"}


@pytest.mark.parametrize("fused", [False, True])
def test_without_a_fault_nothing_shows(fused: bool) -> None:
    clean = Model(fused=fused).eval()
    assert live(trial(), clean, copy.deepcopy(clean)) == {}


def test_sites_are_the_submodules_that_return_a_sequence() -> None:
    tokens = torch.zeros(1, LENGTH, dtype=torch.long)
    assert sites(Model(), lambda model: model(tokens), LENGTH) == (
        "embedding",
        "layers.0",
        "layers.1",
        "layers",
        "head",
    )


def test_a_copy_has_the_fault_too_and_the_original_is_not_changed_by_it() -> None:
    clean, mutant = mutated("next position")
    again, tokens = copy.deepcopy(mutant), trial().draw(2, 0)
    assert torch.equal(mutant(tokens), again(tokens))
    assert not torch.equal(clean(tokens), mutant(tokens))
    layer = again.get_submodule("layers.1")
    assert isinstance(layer, Layer)
    nn.init.zeros_(layer.convolution.weight)
    assert not torch.equal(mutant(tokens), again(tokens))
