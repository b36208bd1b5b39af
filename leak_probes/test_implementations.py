"""Every implementation of the layer under the same instruments as the reference: a kernel is where a leak hides.

Kernels run on a CUDA device or else in Triton's interpreter, a hundred times slower; so cases are few, small and fixed.
Each has what a tile can get wrong: chunks that are no power of two, a last piece of a chunk, neighbours over a border.
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

from hubrouter.config import IMPLS

CASES = (
    Case(length=7, chunk=3, k=2, n_hubs=2, neighbours=1),
    Case(length=6, chunk=2, k=3, n_hubs=3, n_heads=2, neighbours=2, seed=1),
    Case(length=5, chunk=1, k=1, n_hubs=2, seed=2),
)
EVERYWHERE = (suffix_swap, prefix_length, other_rows, repeat_call, gradient, audited)
STREAMS = ("triton",)  # those that stream
OTHERS = tuple(impl for impl in IMPLS if impl != "reference")


def _name(instrument: Instrument) -> str:
    return instrument.__name__


@pytest.mark.parametrize("instrument", EVERYWHERE, ids=_name)
@pytest.mark.parametrize("case", CASES, ids=repr)
@pytest.mark.parametrize("impl", OTHERS)
def test_an_implementation_is_strictly_causal(impl: str, case: Case, instrument: Instrument) -> None:
    """Outputs of the implementation, under one instrument."""
    instrument(replace(case, impl=impl))


@pytest.mark.parametrize("case", CASES, ids=repr)
@pytest.mark.parametrize("impl", STREAMS)
def test_an_implementation_streams_as_it_runs_at_once(impl: str, case: Case) -> None:
    """Pieces of several sizes against one pass."""
    stream_in_pieces(replace(case, impl=impl))


@pytest.mark.parametrize("instrument", [suffix_swap, prefix_length, audited], ids=_name)
def test_kernels_that_select_a_chunk_too_late_are_caught(
    instrument: Instrument, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted leak: every chunk reads the selection of the next border, in which its own later tokens take part."""
    import hubrouter.kernels.route as operator

    select = operator.select_tokens

    def too_late(*arguments: object) -> torch.Tensor:
        chosen = select(*arguments)
        return torch.cat([chosen[:, 1:], chosen[:, -1:]], dim=1)

    monkeypatch.setattr(operator, "select_tokens", too_late)
    with pytest.raises(AssertionError):
        instrument(replace(CASES[0], impl="triton", length=9))
