"""A mask that is built for the first row of a batch and shifted by one in every other row."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from audits.leaks._parts import VOCAB, CausalAttention, future, token_model
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass


class RowMaskedAttention(CausalAttention):
    """Causal attention with a mask for each row."""

    def mask(self, scores: Tensor, x: Tensor) -> Tensor:
        """Scores [B, N, N] with the hidden keys at minus infinity."""
        hidden = [self.hidden(row, scores.shape[-1], scores.device) for row in range(len(x))]
        return scores.masked_fill(torch.stack(hidden), -math.inf)

    def hidden(self, row: int, n: int, device: torch.device) -> Tensor:  # noqa: ARG002 - the leak's depends on it
        """The keys hidden from each query of a row, [N, N]."""
        return future(n, device)


class ShiftedRowsAttention(RowMaskedAttention):
    """The same with other masks after the first row."""

    def hidden(self, row: int, n: int, device: torch.device) -> Tensor:
        """In every row but the first the next key is visible: the planted defect."""
        return future(n, device).triu(2 if row else 1)


def leaky() -> nn.Module:
    """The model that is causal in the first row of a batch, and so in a batch of one."""
    return token_model(ShiftedRowsAttention)


def clean() -> nn.Module:
    """The model that is causal in every row."""
    return token_model(RowMaskedAttention)


LEAK = PlantedLeak(
    name="later_rows",
    mechanism="In every row of a batch but the first, a query also attends to the next token.",
    origin="our own attack: on audits that confirm a change in a batch of one row",
    leak_class=LeakClass.DENSE,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
)
