"""Which runs a re-check repeats, and how what they give is compared.

The sample is chosen by the hash of today's code, so nobody picks it: the runs, sorted by configuration, are cut into as
many blocks as runs are to be repeated, and the hash draws one of each. Where a share of all runs would differ, at least
that share of the draws would find one, whichever runs they are: n equal draws exclude, at 95 %, that more than
1 - 0.05^(1/n) of the runs differ.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Any

from audits.evidence.experiment import Experiment
from audits.evidence.ledger import Evidence, Record

SHARE, FEWEST = 0.05, 3  # of the runs, and runs, that are repeated at least
CONFIDENCE = 0.95
SAME = ("cpu", "device", "platform", "python", "torch", "triton")  # what numbers equal to the last bit need


@dataclass(frozen=True)
class Difference:
    """A number that a repeated run gave otherwise; None for one that is absent."""

    run: str
    path: str
    before: Any
    now: Any


def population(evidence: Evidence, experiment: str, code: str) -> tuple[Record, ...]:
    """The runs of an experiment that this code made, the latest of each question, by configuration and seed."""
    made = (record for record in evidence.records if (record.experiment, record.code) == (experiment, code))
    found = {record.question: record for record in made}
    return tuple(sorted(found.values(), key=lambda record: (json.dumps(record.config, sort_keys=True), record.seed)))


def sample(runs: Sequence[Record], code: str) -> tuple[Record, ...]:
    """The runs to repeat: one of each block, drawn by the hash of today's code."""
    wanted = min(len(runs), max(FEWEST, math.ceil(SHARE * len(runs))))
    bounds = pairwise(index * len(runs) // wanted for index in range(wanted + 1))
    return tuple(block[_drawn(code, block) % len(block)] for low, high in bounds for block in [runs[low:high]])


def _drawn(code: str, block: Sequence[Record]) -> int:
    named = " ".join([code, *(record.question for record in block)])
    return int(hashlib.sha256(named.encode()).hexdigest(), 16)


def may_differ(runs: int, repeated: int) -> float:
    """The share of runs below which those that differ must lie, at 95 %, where no repeated run differed."""
    if repeated >= runs:
        return 0.0
    largest = math.ceil(runs / repeated)  # blocks differ by a run; as if all were of the largest size
    excluded: float = (1 - (1 - CONFIDENCE) ** (1 / repeated)) * largest * repeated / runs
    return min(1.0, excluded)


def same(record: Record, environment: Mapping[str, str], *keys: str) -> bool:
    """Whether a record was made where equal code gives equal bits; by some of what that needs, where keys are given."""
    return all(record.environment.get(key) == environment.get(key) for key in keys or SAME)


def differences(before: Record, now: Record, experiment: Experiment) -> tuple[Difference, ...]:
    """Every number, truth value and word that differs, apart from what the experiment says is not compared.

    Numbers must be equal; made on another machine they must agree within the experiment's tolerance.
    """
    tolerance = 0.0 if same(before, now.environment) else experiment.tolerance or 0.0
    old, new = dict(_leaves(before.result)), dict(_leaves(now.result))
    compared = [path for path in old | new if not any(fnmatchcase(path, left) for left in experiment.not_compared)]
    return tuple(
        Difference(before.run, path, old.get(path), new.get(path))
        for path in compared
        if path not in old or path not in new or not _equal(old[path], new[path], tolerance)
    )


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted paths of what a result holds; an empty list or mapping is a leaf, so that it cannot vanish."""
    pairs = value.items() if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else ()
    if not pairs:
        yield path, value
    for key, item in pairs:
        yield from _leaves(item, f"{path}.{key}".lstrip("."))


def _equal(before: Any, now: Any, tolerance: float) -> bool:
    if tolerance and isinstance(before, float | int) and isinstance(now, float | int):
        return math.isclose(before, now, rel_tol=tolerance, abs_tol=tolerance)
    return type(before) is type(now) and bool(before == now)
