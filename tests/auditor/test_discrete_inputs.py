"""The class of a leak through flags and ids beside other inputs: by what the model makes of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from audits import Contract, LeakClass, Verdict, audit

N = 12
Use = Callable[["Model", Tensor, Tensor], Tensor]  # (model, hidden states, flags or ids) -> what depends on both


def multiplied(model: Model, hidden: Tensor, ahead: Tensor) -> Tensor:
    return hidden * (1 - ahead[..., None].to(hidden.dtype) / 2)


def looked_up(model: Model, hidden: Tensor, ahead: Tensor) -> Tensor:
    return hidden + model.table(ahead.long() % 2)


def chosen(model: Model, hidden: Tensor, ahead: Tensor) -> Tensor:
    return torch.where(ahead[..., None] % 2 == 1, hidden, -hidden)


def detached(model: Model, hidden: Tensor, ahead: Tensor) -> Tensor:
    return multiplied(model, hidden, ahead.to(hidden.dtype).detach())


def one_hot(model: Model, hidden: Tensor, ahead: Tensor) -> Tensor:
    return hidden + nn.functional.one_hot(ahead.long() % 2, 2).to(hidden.dtype) @ model.table.weight


class Model(nn.Module):
    """Running sums of states [B, N, 2], and flags or ids [B, N] of the same slot; with `ahead`, of the next."""

    def __init__(self, use: Use, ahead: int) -> None:
        super().__init__()
        self.use, self.ahead, self.table, self.inlet = use, ahead, nn.Embedding(2, 8), nn.Linear(2, 8)

    def forward(self, states: Tensor, extra: Tensor) -> Tensor:
        later = nn.functional.pad(extra, (0, self.ahead))[:, self.ahead :]
        return self.use(self, self.inlet(states).cumsum(1).tanh(), later)


@pytest.mark.parametrize("kind", ["flags", "tokens:6"])
@pytest.mark.parametrize(
    ("use", "leak_class"),
    [
        (multiplied, LeakClass.DENSE),
        (looked_up, LeakClass.DENSE),
        (one_hot, LeakClass.DENSE),
        (detached, LeakClass.STATISTIC),
        (chosen, LeakClass.SELECTION),
    ],
)
@pytest.mark.parametrize("ahead", [0, 1])
def test_a_leak_through_flags_or_ids_is_dense_where_a_gradient_passes_from_them_on(
    kind: str, use: Use, leak_class: LeakClass, ahead: int
) -> None:
    contract = Contract(inputs={"states": "past:features:2", "extra": f"past:{kind}"})
    result = audit(Model(use, ahead), seq_len=N, contract=contract, probes=["provenance", "perturbation", "gradient"])
    assert result.verdict is (Verdict.LEAK if ahead else Verdict.PASS), result
    assert [(finding.leak_class, finding.argument) for finding in result.findings] == [(leak_class, "extra")] * ahead
