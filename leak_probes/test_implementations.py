"""The kernels under the instruments of the reference: a kernel is where a leak hides.

They run in Triton's interpreter here, a hundred times slower than torch. So there is one small fixed case, which has
what a tile can get wrong: a last piece of a chunk and neighbours over a border. Probes that take many forward passes,
or look inside a kernel, are left to the direct instruments.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from cases import Case
from instruments import (
    Instrument,
    audited,
    gradient,
    other_rows,
    prefix_length,
    repeat_call,
    stream_in_pieces,
    suffix_swap,
)

from hubrouter import HubRouter

CASE = Case(length=5, chunk=2, k=2, n_hubs=2, neighbours=1, impl="triton")
DIRECT = (suffix_swap, prefix_length, other_rows, repeat_call, gradient)
PROBES = ("gradient", "prefix-length", "isolation", "decode")


def _name(instrument: Instrument) -> str:
    return instrument.__name__


@pytest.mark.parametrize("instrument", DIRECT, ids=_name)
def test_kernels_are_strictly_causal(instrument: Instrument) -> None:
    """Outputs and derivatives, under one instrument."""
    instrument(CASE)


def test_kernels_stream_as_they_run_at_once() -> None:
    """Pieces of several sizes against one pass."""
    stream_in_pieces(CASE)


def test_kernels_pass_the_audit() -> None:
    """The auditor's own probes, as many as the interpreter carries out in a test."""
    audited(replace(CASE, length=3), probes=PROBES, batch=2)


def test_kernels_of_the_bidirectional_layer_are_caught() -> None:
    """As published: it sees the whole sequence, and so must its kernels."""
    layer = HubRouter(replace(CASE.router(), causal=False))
    with pytest.raises(AssertionError):
        suffix_swap(CASE, CASE.prepared(layer))


@pytest.mark.parametrize("instrument", [suffix_swap, prefix_length], ids=_name)
def test_kernels_that_select_a_chunk_too_early_are_caught(
    instrument: Instrument, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted leak: every chunk reads the selection of the next border, in which its own later tokens take part."""
    import hubrouter.kernels.route as operator

    select = operator.select_tokens

    def too_early(*arguments: object) -> torch.Tensor:
        chosen = select(*arguments)
        return torch.cat([chosen[:, 1:], chosen[:, -1:]], dim=1)

    monkeypatch.setattr(operator, "select_tokens", too_early)
    with pytest.raises(AssertionError):
        instrument(CASE)
