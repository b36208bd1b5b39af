"""Implementations other than the reference, under the same checks.

Kernels run in Triton's interpreter here, a hundred times slower than torch. So there is one small fixed case, with what
a tile can get wrong: an incomplete last chunk, and neighbours across a chunk border. The compiled layer is compiled
anew for every shape, which takes a minute: it is checked at one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cases import Case
from checks import (
    Check,
    gradient,
    other_rows,
    prefix_length,
    repeat_call,
    stream_in_pieces,
    suffix_swap,
)

from hubrouter import HubRouter

CASE = Case(length=5, chunk=3, k=2, n_hubs=2, neighbours=1, impl="triton")
DIRECT = (suffix_swap, prefix_length, other_rows, repeat_call, gradient)
HERE = Path(__file__).resolve().parent
COMPILED = """
from cases import Case
from checks import gradient, other_rows, suffix_swap
case = Case(length=4, chunk=3, k=2, n_hubs=2, neighbours=1, impl="compiled")
for check in (suffix_swap, other_rows, gradient):  # all of them call it on three rows
    check(case)
"""


@pytest.mark.parametrize("check", DIRECT)
def test_kernels_are_strictly_causal(check: Check) -> None:
    """Outputs and derivatives, under one check."""
    check(CASE)


def test_a_stream_through_kernels_equals_one_pass() -> None:
    """Pieces of several sizes against one pass."""
    stream_in_pieces(CASE)


def test_the_compiled_layer_is_strictly_causal() -> None:
    """In a process of its own: pytest makes errors of what the compiler only warns of."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE)])}
    done = subprocess.run(
        [sys.executable, "-c", COMPILED], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_kernels_of_the_bidirectional_layer_are_detected() -> None:
    """As published: every output depends on the whole sequence, so the check must fail."""
    layer = HubRouter(replace(CASE.router(), causal=False))
    with pytest.raises(AssertionError):
        suffix_swap(CASE, CASE.prepared(layer))


@pytest.mark.parametrize("check", [suffix_swap, prefix_length])
def test_kernels_that_select_a_chunk_too_early_are_detected(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted leak: every chunk reads the selection of the next border, in which its own later tokens take part."""
    import hubrouter.kernels.route as operator

    select = operator.select_tokens

    def too_early(*arguments: object) -> torch.Tensor:
        chosen = select(*arguments)
        return torch.cat([chosen[:, 1:], chosen[:, -1:]], dim=1)

    monkeypatch.setattr(operator, "select_tokens", too_early)
    with pytest.raises(AssertionError):
        check(CASE)
