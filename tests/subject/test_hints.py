"""What to do about the first error of a model: the option that would mend it is named."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from audits import Contract, SubjectError, audit


class Positions(nn.Module):
    """Tokens with a table of 32 positions, as an embedding or as a plain parameter."""

    def __init__(self, *, embedded: bool) -> None:
        super().__init__()
        self.tokens, self.kinds = nn.Embedding(50, 8), nn.Embedding(2, 8)
        self.positions = nn.Embedding(32, 8) if embedded else nn.Parameter(torch.randn(1, 32, 8))

    def forward(self, x: Tensor) -> Tensor:
        table = self.positions
        n = torch.arange(x.shape[1])
        added = table(n) if isinstance(table, nn.Embedding) else table if x.shape[1] > 32 else table[:, : x.shape[1]]
        y: Tensor = (self.tokens(x) + added + self.kinds(0 * n)).cumsum(1)
        return y


@pytest.mark.parametrize("contract", [None, Contract(inputs={"x": "past:tokens:50"})])
@pytest.mark.parametrize("embedded", [True, False])
def test_a_table_of_positions_that_is_too_short_is_named_with_its_size(
    embedded: bool, contract: Contract | None
) -> None:
    model = Positions(embedded=embedded)
    with pytest.raises(SubjectError, match=r"its table 'positions' has 32 positions: give --seq-len 32 or fewer"):
        audit(model, contract=contract)
    assert audit(model, contract=contract, seq_len=32, probes=["perturbation"]).verdict == "PASS"


FEATURES: dict[str, Any] = {
    "linear": nn.Sequential(nn.Linear(12, 12), nn.Linear(12, 4)),
    "recurrent": nn.GRU(12, 8, batch_first=True),
    "with an embedding": nn.TransformerEncoderLayer(12, 2, 16, batch_first=True),
}


@pytest.mark.parametrize("name", FEATURES)
def test_a_model_of_features_that_is_given_tokens_is_told_how_to_be_fed(name: str) -> None:
    with pytest.raises(SubjectError, match=r"--input features --width (12|D)"):
        audit(FEATURES[name])
    with pytest.raises(SubjectError, match=r"it seems to take features: give --input features --width 12"):
        audit(FEATURES[name], vocab_size=50)
