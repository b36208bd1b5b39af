"""State carried from piece to piece, by the names Hugging Face uses for it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from audits import audit
from audits.results import LeakClass, Verdict

VOCAB = 17


class RunningSum(nn.Module):
    """Sums embeddings; the sum so far is the cache. `forgets` makes a piece of several tokens start from nothing."""

    def __init__(self, forgets: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.head = nn.Embedding(VOCAB, 8), nn.Linear(8, VOCAB)
        self.config = SimpleNamespace(vocab_size=VOCAB, conv_kernel=4)
        self.forgets = forgets

    def step(self, tokens: Tensor, cache: Tensor | None) -> tuple[Tensor, Tensor]:
        if self.forgets and tokens.shape[1] > 1:
            cache = None
        summed = self.embedding(tokens).cumsum(1)
        summed = summed if cache is None else summed + cache
        return self.head(torch.tanh(summed)), summed[:, -1:]


class CalledState(RunningSum):
    def forward(self, tokens, state=None, use_cache=False):
        logits, cache = self.step(tokens, state)
        return SimpleNamespace(logits=logits, state=cache if use_cache else None)


class CalledCacheParams(RunningSum):
    def forward(self, tokens, cache_params=None, use_cache=False):
        logits, cache = self.step(tokens, cache_params)
        return SimpleNamespace(logits=logits, cache_params=cache if use_cache else None)


class TakesThePosition(RunningSum):
    """As Mamba before transformers 5: positions count from the width of the convolution on."""

    def forward(self, tokens, cache_params=None, use_cache=False, cache_position=None):
        if cache_params is not None and (cache_position is None or int(cache_position[0]) < self.config.conv_kernel):
            raise ValueError("where does this piece start?")
        logits, cache = self.step(tokens, cache_params)
        return SimpleNamespace(logits=logits, cache_params=cache if use_cache else None)


KINDS = pytest.mark.parametrize("kind", [CalledState, CalledCacheParams, TakesThePosition])


@KINDS
def test_a_recurrent_model_that_carries_its_state_is_decoded_and_passes(kind):
    result = audit(kind(), seq_len=24, probes=["decode"])
    assert result.verdict is Verdict.PASS, result.probes
    assert "token by token, after a prefill of half, in uneven pieces" in result.probes[0].why


@KINDS
def test_a_piece_that_forgets_the_cache_is_a_decode_leak(kind):
    result = audit(kind(forgets=True), seq_len=24)
    assert {(finding.probe, finding.leak_class) for finding in result.findings} == {("decode", LeakClass.DECODE)}


class ShortCallsRemember(nn.Module):
    """A long call rescales what only short calls read, as rotary frequencies that are never restored."""

    def __init__(self, remembers: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.head = nn.Embedding(VOCAB, 8), nn.Linear(8, VOCAB)
        self.register_buffer("scale", torch.ones(()))
        self.remembers = remembers

    def forward(self, tokens):
        short = tokens.shape[1] <= 6
        if self.remembers and not short:
            self.scale.fill_(2.0)
        hidden = self.embedding(tokens).cumsum(1)
        return self.head(torch.tanh(hidden * self.scale if short else hidden))


def test_what_a_long_call_leaves_for_short_ones_alone_is_a_state_leak():
    result = audit(ShortCallsRemember(remembers=True), seq_len=32)
    assert {(finding.probe, finding.leak_class) for finding in result.findings} == {("repeat-call", LeakClass.STATE)}
    assert "(its first 4 positions)" in next(probe.why for probe in result.probes if probe.name == "repeat-call")


def test_short_calls_that_find_nothing_left_behind_pass():
    assert audit(ShortCallsRemember(remembers=False), seq_len=32).verdict is Verdict.PASS
