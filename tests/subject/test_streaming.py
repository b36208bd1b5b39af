"""Caches as layers of larger models keep them: in a tuple, or in the one that their caller made."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest
import torch
from auditor_models import LENGTH, WIDTH
from torch import Tensor, nn

from audits import LeakClass, Verdict, audit
from audits.results import AuditResult


class Cache:
    """A stand-in for that of flash-linear-attention: states by layer, written by the layer."""

    def __init__(self) -> None:
        self.states: dict[int, Tensor] = {}

    def __len__(self) -> int:
        return len(self.states)

    def get_seq_length(self) -> int:
        return len(self.states)

    def update(self, recurrent_state: Tensor, layer_idx: int) -> None:
        self.states[layer_idx] = recurrent_state


class LinearAttention(nn.Module):
    """A stand-in for a layer of flash-linear-attention, its signature and its way with caches and borders."""

    def __init__(self, layer_idx: int | None = 0, forgets: bool = False, isolates: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.qkv, self.layer_idx = nn.Linear(WIDTH, 3 * WIDTH), layer_idx
        self.forgets, self.isolates = forgets, isolates

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        past_key_values: Any = None,
        use_cache: bool | None = False,
        output_attentions: bool | None = False,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor | None, Any]:
        borders = kwargs.get("cu_seqlens")
        if borders is not None and self.isolates:
            parts = [self.attend(part, None)[0] for part in hidden_states.split(borders.diff().tolist(), dim=1)]
            return torch.cat(parts, dim=1), None, past_key_values
        before = None if past_key_values is None or self.forgets else past_key_values.states.get(self.layer_idx)
        output, state = self.attend(hidden_states, before)
        if past_key_values is not None and use_cache and self.layer_idx is not None:
            past_key_values.update(recurrent_state=state, layer_idx=self.layer_idx)
        return output, None, past_key_values

    def attend(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        q, k, v = self.qkv(x).chunk(3, -1)
        states = (k[..., None] * v[..., None, :]).cumsum(1) + (0 if state is None else state[:, None])
        return (q[..., None, :] @ states)[..., 0, :], states[:, -1]


class ReturnsTuple(LinearAttention):
    """Makes its cache itself and returns it last, after something else."""

    def forward(self, hidden_states: Tensor, past_key_values: Any = None, use_cache: bool = False) -> tuple[Any, ...]:
        cache = Cache() if past_key_values is None else past_key_values
        return *super().forward(hidden_states, None, cache, use_cache)[:2], cache


class Recurrent(LinearAttention):
    """Names its cache as the recurrent models of Hugging Face do."""

    def forward(self, hidden_states: Tensor, cache_params: Any = None, use_cache: bool = False) -> dict[str, Any]:
        cache = Cache() if cache_params is None else cache_params
        output = super().forward(hidden_states, None, cache, use_cache)[0]
        return {"last_hidden_state": output, "cache_params": cache if use_cache else None}


class LegacyTuple(LinearAttention):
    """Keeps keys and values as tuples of tuples, as older releases did."""

    def forward(self, hidden_states: Tensor, past_key_values: Any = None, use_cache: bool = False) -> tuple[Any, ...]:
        output, state = self.attend(hidden_states, past_key_values[0][0] if past_key_values else None)
        return output, ((state, state),)


class AttentionOfALargerModel(nn.Module):
    """Returns outputs and weights, and caches nothing without its caller's cache."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = LinearAttention()

    def forward(self, hidden_states: Tensor, past_key_values: Any = None, use_cache: bool = False) -> tuple[Any, ...]:
        return self.layer(hidden_states)[0], None


@pytest.fixture
def fla(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-ins at the places where the library has the originals."""
    for name in ("fla", "fla.models", "fla.models.utils"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setattr(sys.modules["fla.models.utils"], "Cache", Cache, raising=False)
    monkeypatch.setattr(LinearAttention, "__module__", "fla.layers.linear_attn")


def layer_audit(layer: nn.Module, **options: Any) -> AuditResult:
    return audit(layer, **{"input": "features", "width": WIDTH, "seq_len": LENGTH, **options})


def why(result: AuditResult, probe: str) -> str:
    return next(f"{p.verdict} {p.why}" for p in result.probes if p.name == probe)


@pytest.mark.usefixtures("fla")
def test_an_fla_layer_passes_and_is_decoded_through_a_cache_made_for_it():
    result = layer_audit(LinearAttention())
    assert result.verdict is Verdict.PASS, [(p.name, p.why) for p in result.probes]
    assert "decoding token by token" in why(result, "decode")
    assert not next(p for p in result.probes if p.name == "documents").applicable


@pytest.mark.usefixtures("fla")
def test_an_fla_layer_that_forgets_what_it_cached_is_found():
    result = layer_audit(LinearAttention(forgets=True), probes=["decode"])
    assert result.findings[0].leak_class is LeakClass.DECODE


@pytest.mark.usefixtures("fla")
def test_an_fla_layer_without_a_layer_idx_is_not_called_leaky():
    result = layer_audit(LinearAttention(layer_idx=None))
    assert result.verdict is Verdict.PASS
    assert "does it have a layer_idx?" in why(result, "decode")


@pytest.mark.usefixtures("fla")
@pytest.mark.parametrize("isolates", [True, False])
def test_an_fla_layer_must_respect_document_boundaries_when_required(isolates):
    result = layer_audit(LinearAttention(isolates=isolates), documents="cu_seqlens", probes=["documents"])
    assert result.verdict is (Verdict.PASS if isolates else Verdict.LEAK), why(result, "documents")


CACHING = [(ReturnsTuple, False), (ReturnsTuple, True), (Recurrent, False), (Recurrent, True), (LegacyTuple, False)]


@pytest.mark.parametrize(("kind", "forgets"), CACHING)
def test_a_cache_is_found_in_whatever_way_it_is_returned(kind, forgets):
    result = layer_audit(kind(forgets=forgets), probes=["decode"])
    assert result.verdict is (Verdict.LEAK if forgets else Verdict.PASS), why(result, "decode")


def test_a_layer_that_returns_no_cache_is_not_decoded_and_says_how_it_could_be():
    result = layer_audit(AttentionOfALargerModel())
    assert result.verdict is Verdict.PASS
    assert "method stream(piece, state)" in why(result, "decode")
