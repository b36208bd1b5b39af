"""All randomness of an audit: generators derived from a seed and a name, and the global generators pinned."""

from __future__ import annotations

import contextlib
import hashlib
import random
import sys
from collections.abc import Iterator

import torch


def generator(seed: int, *names: object) -> torch.Generator:
    """A CPU generator that depends on the seed and the names alone, never on what ran before."""
    digest = hashlib.sha256(repr((seed, *names)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def numpy_generators() -> tuple[type, ...]:
    """Numpy's generator types, where numpy is loaded."""
    numpy = sys.modules.get("numpy")
    return (numpy.random.Generator, numpy.random.RandomState) if numpy else ()


@contextlib.contextmanager
def pinned(seed: int) -> Iterator[None]:
    """Set the global generators of torch, Python and (where loaded) numpy to a seed; restore their states after."""
    numpy = sys.modules.get("numpy")
    python_state = random.getstate()
    numpy_state = numpy.random.get_state() if numpy else None
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        random.seed(seed)
        if numpy:
            numpy.random.seed(seed % 2**32)
        try:
            yield
        finally:
            random.setstate(python_state)
            if numpy:
                numpy.random.set_state(numpy_state)


@contextlib.contextmanager
def pinned_call(seed: int) -> Iterator[None]:
    """As `pinned`, for the many calls of an audit.

    Without an accelerator `torch.manual_seed` would format a traceback for every kind of device that is not there.
    """
    if torch.accelerator.is_available():
        with pinned(seed):
            yield
        return
    numpy = sys.modules.get("numpy")
    before = torch.get_rng_state(), random.getstate(), numpy and numpy.random.get_state()
    torch.default_generator.manual_seed(seed)
    random.seed(seed)
    if numpy:
        numpy.random.seed(seed % 2**32)
    try:
        yield
    finally:
        torch.set_rng_state(before[0])
        random.setstate(before[1])
        if numpy:
            numpy.random.set_state(before[2])
