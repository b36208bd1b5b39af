"""The fewest probes that detect every planted leak: an exact minimum set cover, small enough to try every subset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations


@dataclass(frozen=True)
class Battery:
    """What a kill matrix says about its probes.

    Attributes:
        probes: the cheapest of the smallest sets that together detect every leak that any probe detects, by name.
        smallest: all sets of that size that do.
        only: the leaks that one probe alone detects, by probe.
        redundant: the probes without which every leak is still detected, each left out by itself.
    """

    probes: tuple[str, ...]
    smallest: tuple[tuple[str, ...], ...]
    only: Mapping[str, tuple[str, ...]]
    redundant: tuple[str, ...]


def minimal_battery(kills: Mapping[str, frozenset[str]], cost: Mapping[str, float] | None = None) -> Battery:
    """The battery of probes that detect these leaks; `cost` of a probe decides between sets of equal size."""
    seen = frozenset[str]().union(*kills.values())
    names, prices = sorted(kills), cost or {}
    smallest: tuple[tuple[str, ...], ...] = ((),)
    for size in range(len(names) + 1):
        smallest = tuple(s for s in combinations(names, size) if frozenset[str]().union(*(kills[p] for p in s)) == seen)
        if smallest:
            break
    cheapest = min(smallest, key=lambda probes: (sum(prices.get(probe, 0.0) for probe in probes), probes))
    rest = {name: frozenset[str]().union(*(kills[other] for other in names if other != name)) for name in names}
    only = {name: tuple(sorted(kills[name] - rest[name])) for name in names if kills[name] - rest[name]}
    return Battery(cheapest, smallest, only, tuple(name for name in names if name not in only))
