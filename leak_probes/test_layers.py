"""HubRouter layers and small sequence models drawn by Hypothesis, under every check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from cases import Case, layers, models
from checks import (
    Check,
    audited,
    gradient,
    other_rows,
    padding,
    prefix_length,
    repeat_call,
    stream_in_pieces,
    suffix_swap,
)
from hypothesis import Phase, example, find, given, settings
from torch import Tensor, nn
from torch.nn import functional as F

from audits.leaks import (
    hub_bidirectional_council,
    hub_length_dependent_k,
    hub_own_chunk_summary,
    hub_selection_in_chunk,
    hub_state_across_calls,
    hub_statistics_over_time,
)
from hubrouter import HubRouter, ModelConfig, RouterState
from hubrouter.council import Council, Members
from hubrouter.state import BLOCK

ON_FEATURES = (suffix_swap, prefix_length, stream_in_pieces, padding, other_rows, repeat_call, gradient)
ON_TOKENS = (suffix_swap, prefix_length, stream_in_pieces, other_rows, repeat_call)
AUDITED = 40  # tokens at most under the whole auditor
NEAR_TIES = Case(length=40, pairs=2, n_hubs=4, k=4, chunk=2, seed=5, near=True)

Builder = Callable[[ModelConfig], nn.Module]


@pytest.mark.parametrize("check", ON_FEATURES)
@settings(max_examples=50)
@example(case=NEAR_TIES)
@given(case=layers())
def test_a_drawn_layer_is_strictly_causal(check: Check, case: Case) -> None:
    """Each check shrinks to its own minimal case."""
    check(case)


@pytest.mark.parametrize("check", [suffix_swap, prefix_length, stream_in_pieces, padding])
def test_a_layer_is_strictly_causal_across_blocks(check: Check) -> None:
    """Sequences are routed in blocks of about a thousand tokens; this one takes two."""
    check(Case(length=BLOCK + 30, n_heads=2, pairs=2, n_hubs=3, k=4, chunk=7, neighbours=1, seed=1))


@pytest.mark.parametrize("check", ON_TOKENS)
@settings(max_examples=25)
@given(case=models())
def test_a_drawn_model_is_strictly_causal(check: Check, case: Case) -> None:
    """Layers of several kinds together."""
    check(case)


@settings(max_examples=3)
@given(case=layers(longest=AUDITED))
def test_a_drawn_layer_passes_the_audit(case: Case) -> None:
    """The auditor's adversary searches where the direct checks only draw; seconds a case, so there are few.

    A council of selected tokens alone may give constants in a short sequence, of which nothing can be said.
    """
    if case.council == "selected":
        case = replace(case, readout=True, length=max(case.length, case.chunk + 2))
    audited(case)


@settings(max_examples=3)
@given(case=models())
def test_a_drawn_model_passes_the_audit(case: Case) -> None:
    """The same on tokens."""
    audited(case)


class CentredOverRows(nn.Module):
    """A planted leak: rows are centred by the mean of the batch."""

    def __init__(self, layer: HubRouter) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """The layer on centred rows."""
        output: Tensor = self.layer(x - x.mean(0, keepdim=True))
        return output


class StatelessStream(HubRouter):
    """A planted defect: the stream discards its state."""

    def stream(self, x: Tensor, state: RouterState | None = None) -> tuple[Tensor, RouterState]:
        """Always from the start."""
        del state
        return super().stream(x, None)


class LateChunksLookAhead(Council):
    """A planted leak: from the thirteenth chunk on, a query may read the next token too."""

    def own_mask(self, queries: int, own: Members) -> Tensor:
        """[B, G, L, C]."""
        mask = super().own_mask(queries, own)
        ahead = torch.logical_or(mask, F.pad(mask[:, :, 1:], (0, 0, 0, 1)) & own.valid[:, :, None])
        return torch.cat([mask[:, :12], ahead[:, 12:]], dim=1)


def late_chunks_look_ahead(config: ModelConfig) -> HubRouter:
    """Otherwise the strictly causal layer."""
    layer = HubRouter(config.router())
    layer.council = LateChunksLookAhead()
    return layer


@pytest.mark.parametrize("check", [suffix_swap, gradient])
def test_drawn_layers_are_long_enough_for_a_mistake_in_late_chunks(check: Check) -> None:
    """Of as many cases as a check draws, one must show it."""

    def shows(case: Case) -> bool:
        try:
            check(case, case.prepared(late_chunks_look_ahead(case.config())))
        except AssertionError:
            return True
        return False

    find(layers(), shows, settings=settings(max_examples=50, phases=[Phase.generate], database=None))


DETECTED = [
    (hub_bidirectional_council.layer, suffix_swap),
    (hub_bidirectional_council.layer, gradient),
    (hub_bidirectional_council.layer, audited),
    (hub_own_chunk_summary.layer, suffix_swap),
    (hub_own_chunk_summary.layer, gradient),
    (hub_selection_in_chunk.layer, suffix_swap),
    (hub_statistics_over_time.layer, suffix_swap),
    (hub_length_dependent_k.layer, prefix_length),
    (hub_state_across_calls.layer, repeat_call),
    (lambda config: CentredOverRows(HubRouter(config.router())), other_rows),
    (lambda config: StatelessStream(config.router()), stream_in_pieces),
]


@pytest.mark.parametrize(("leaky", "check"), DETECTED)
def test_a_check_detects_the_defect_it_is_for(leaky: Builder, check: Check) -> None:
    """A check that cannot fail proves nothing."""
    case = Case(batch=2, length=20, n_heads=2, pairs=2, n_hubs=3, k=4, chunk=8, neighbours=1, seed=1)
    check(case)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        planted = case.prepared(leaky(case.config()))
    with pytest.raises(AssertionError, match=r"reproduce: PYTHONPATH=\.:leak_probes python -c"):
        check(case, planted)
