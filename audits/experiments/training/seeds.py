"""A run's independent streams of random numbers: its weights, its data and whatever else is drawn."""

from __future__ import annotations

from audits.subject.randomness import generator


def stream(seed: int, purpose: str) -> int:
    """The seed of one stream; two runs of one seed share the streams of the same purpose."""
    return generator(seed, purpose).initial_seed()
