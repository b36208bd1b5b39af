"""A sequence moved by one position too many: the line that moves it is named, not the layer that reads it after."""

from __future__ import annotations

import linecache
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audits import LeakClass, audit


def joined(y: Tensor) -> Tensor:
    return torch.cat([y[:, 1:], y[:, -1:]], 1)  # joined


def padded(y: Tensor) -> Tensor:
    return F.pad(y, (0, 0, 0, 1))[:, 1:]  # padded


def cropped(y: Tensor) -> Tensor:
    return y + F.pad(y, (0, 0, -1, 1))  # cropped


def gathered(y: Tensor) -> Tensor:
    n = y.shape[1]
    return y[:, (torch.arange(n) + 1).clamp(max=n - 1)]  # gathered


def rolled(y: Tensor) -> Tensor:
    return y.roll(-1, 1)  # rolled


class Shifted(nn.Module):
    def __init__(self, shift: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.shift, self.embed, self.inner, self.head = shift, nn.Embedding(20, 8), nn.Linear(8, 8), nn.Linear(8, 20)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens).cumsum(1)
        logits: Tensor = self.head(self.inner(self.shift(x)).relu())
        return logits


@pytest.mark.parametrize("preset", ["thorough", "quick"])
@pytest.mark.parametrize("shift", [joined, padded, cropped, gathered, rolled])
def test_the_line_that_moves_the_sequence_is_named_once(shift: Callable[[Tensor], Tensor], preset: str) -> None:
    (finding,) = audit(Shifted(shift), seq_len=24, preset=preset).findings
    assert finding.leak_class is LeakClass.DENSE
    assert finding.file is not None
    assert f"# {shift.__name__}" in linecache.getline(finding.file, finding.line or 0)
