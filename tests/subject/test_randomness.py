import contextlib
import random

import numpy as np
import pytest
import torch

from audits.subject.randomness import pinned, pinned_call


def drawn():
    return float(torch.rand(())), random.random(), float(np.random.rand())  # noqa: NPY002 - what models use


@pytest.mark.parametrize("pin", [pinned, pinned_call])
def test_a_pinned_block_draws_by_its_seed_and_leaves_no_trace(pin):
    torch.manual_seed(1), random.seed(1), np.random.seed(1)  # noqa: NPY002
    expected = drawn()
    torch.manual_seed(1), random.seed(1), np.random.seed(1)  # noqa: NPY002
    with contextlib.suppress(KeyError), pin(2**40 + 7):
        first = drawn()
        raise KeyError
    assert drawn() == expected
    with pinned(2**40 + 7):
        assert drawn() == first


@pytest.mark.skipif(torch.accelerator.is_available(), reason="what an absent device would have queued")
def test_many_pinned_calls_queue_nothing_for_devices_that_are_not_there():
    before = len(torch.cuda._queued_calls)
    for _ in range(3):
        with pinned_call(0):
            pass
    assert len(torch.cuda._queued_calls) == before
