"""A wrapper that computes the ids from the tokens hides neither derivatives nor the class of a leak."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from audits import audit
from audits.results import LeakClass, Verdict


class Wrapped(nn.Module):
    """The ids that a wrapper makes are mixed with the mean over all, or over those up to now."""

    def __init__(self, ids, *, ahead: bool, detached: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.ids, self.ahead, self.detached = ids, ahead, detached
        self.embed, self.head = nn.Embedding(30, 8), nn.Linear(8, 30)

    def forward(self, tokens):
        ids = self.ids(tokens)
        x = self.embed(ids)
        count = torch.arange(1, x.shape[1] + 1, dtype=x.dtype)[:, None]
        mean = x.mean(1, keepdim=True) if self.ahead else x.cumsum(1) / count
        y = self.head(x + (mean.detach() if self.detached else mean))
        offset = ids.shape[1] - tokens.shape[1]
        return y[:, offset:] if self.ids is prefixed else y[:, : tokens.shape[1]]


def halved(tokens):
    return tokens // 2 + 1


def mapped(tokens):
    return torch.where(tokens == 3, 0, tokens) % 17


def prefixed(tokens):
    return torch.cat([tokens.new_full((len(tokens), 3), 29), tokens], dim=1)


def padded(tokens):
    return functional.pad(tokens, (0, -tokens.shape[1] % 16), value=29)


WRAPPERS = [halved, mapped, prefixed, padded]


@pytest.mark.parametrize("ids", WRAPPERS)
def test_the_class_is_found_behind_computed_ids(ids):
    dense = audit(Wrapped(ids, ahead=True), vocab_size=28, seq_len=40)
    assert {finding.leak_class for finding in dense.findings} == {LeakClass.DENSE}
    assert "gradient" in dense.findings[0].probes
    detached = audit(Wrapped(ids, ahead=True, detached=True), vocab_size=28, seq_len=40)
    assert {finding.leak_class for finding in detached.findings} == {LeakClass.STATISTIC}


@pytest.mark.parametrize("ids", WRAPPERS)
def test_a_causal_model_behind_computed_ids_passes(ids):
    result = audit(Wrapped(ids, ahead=False), vocab_size=28, seq_len=40)
    assert result.verdict is Verdict.PASS, [probe for probe in result.probes if probe.verdict is not Verdict.PASS]
    assert next(probe for probe in result.probes if probe.name == "gradient").applicable
