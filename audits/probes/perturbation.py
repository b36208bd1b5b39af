"""Perturbation: change what comes later, and see whether anything before it moves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch

from audits.instruments import adversary, changes
from audits.instruments.differences import Changes, Comparison, Moved
from audits.instruments.noise_floor import readable
from audits.instruments.probe import Probe, Report, Sighting, batches, undetermined, unmoved
from audits.results import Verdict
from audits.subject.budget import OutOfTime
from audits.subject.randomness import generator
from audits.subject.settings import Settings
from audits.subject.subject import Subject


@dataclass
class _Seen:
    """What has been seen so far.

    Attributes:
        leak: the first confirmed sighting.
        rows: changed sequences tried.
        past: largest difference before a cut, in company, whatever became of it.
        future: largest difference at or after a cut.
        beyond: largest difference after a position that alone was changed.
        crowded: whether rows moved in company that stand still alone.
        doubts: what could not be told from rounding.
    """

    leak: Sighting | None = None
    rows: int = 0
    past: float = 0.0
    future: float = 0.0
    beyond: float = 0.0
    crowded: bool = False
    doubts: list[str] = field(default_factory=list)


def run(subject: Subject) -> Report:
    """Every cut and every position; then, only if the past stood still, the adversary that looks for rankings to flip.

    Positive control: the outputs from the cut on must react, else nothing was tested.
    """
    comparison = Comparison(subject, subject.base())
    if not readable(comparison.alone):
        return undetermined("the outputs hold NaN or infinite numbers, which hide any influence: mend the model first")
    seen = _Seen()
    try:
        _search(comparison, seen)
        return _judged(seen)
    except OutOfTime as problem:
        return _cut_short(comparison, seen, str(problem))


def _judged(seen: _Seen) -> Report:
    """The report of a search that was carried to its end."""
    if seen.leak is not None:
        return Report(Verdict.LEAK, f"{_in_words(seen.leak)} ({seen.rows} changed sequences tried)", (seen.leak,))
    if seen.future == 0:
        return unmoved("no change of the input moved any output, so nothing was tested")
    if seen.doubts:
        doubt = f"the past moved by {seen.doubts[0]}"
        return undetermined(f"{doubt}: rounding and leak cannot be told apart in this precision")
    mixing = "" if seen.beyond > 0 else "; no position influences any other"
    why = f"{seen.rows} changed sequences: outputs before the change stood still, later ones moved{mixing}"
    return Report(Verdict.PASS, why)


def _cut_short(comparison: Comparison, seen: _Seen, why: str) -> Report:
    """What had been tried when time ran out; nothing was decided."""
    planned = _planned(comparison.subject.settings)
    tried = f"{why} after {seen.rows}{f' of {planned}' if seen.rows < planned else ''} changed sequences"
    if seen.past <= comparison.repeat:
        return undetermined(f"{tried}; none moved the past")
    return undetermined(f"{tried}; the past moved by {seen.past:.1e}, and nothing was decided about that")


def _search(comparison: Comparison, seen: _Seen) -> None:
    """All plans in turn until one leaks; where rows feel each other, the plain ones again with one row at a time."""
    subject, base = comparison.subject, comparison.base
    gen = generator(subject.settings.seed, "perturbation")
    singles, suffixes = changes.singles(subject, base, gen), changes.suffixes(subject, base, gen)
    seen.beyond = _try(comparison, singles, seen)
    _try(comparison, suffixes, seen)
    _search_further(comparison, gen, seen)
    if seen.crowded and seen.leak is None:
        for plan in (singles, suffixes):
            _try(comparison, plan, seen, rows=1)


def _search_further(comparison: Comparison, gen: torch.Generator, seen: _Seen) -> None:
    """Rare tokens and other prefixes, then the adversary."""
    _try(comparison, changes.sweep(comparison.subject, gen), seen)
    bred = adversary.search(comparison, gen) if seen.leak is None else None
    if bred is not None:
        _judge(comparison, bred.changes, bred.moved, seen)


def _try(comparison: Comparison, plan: Changes, seen: _Seen, rows: int | None = None) -> float:
    """Measure and judge a plan, unless a leak is known; returns the largest difference beyond a cut."""
    beyond = 0.0
    for part in _portions(comparison, plan, rows):
        if seen.leak is None:
            moved = comparison.measure(part, rows)
            _judge(comparison, part, moved, seen)
            beyond = max(beyond, float(moved.beyond.max()))
    return beyond


def _portions(comparison: Comparison, plan: Changes, rows: int | None) -> Iterator[Changes]:
    """The whole plan; where time may run out, batches in random order: the first ones cover the whole length."""
    if comparison.subject.pace.budget.seconds is None:
        yield plan
        return
    order = torch.randperm(len(plan.cuts), generator=generator(comparison.subject.settings.seed, "order"))
    for part in order.split(rows or comparison.rows):
        yield plan.rows(part)


def _judge(comparison: Comparison, plan: Changes, moved: Moved, seen: _Seen) -> None:
    """Run the strongest rows of a plan again, alone."""
    seen.rows += len(plan.cuts)
    seen.past = max(seen.past, float(moved.past.max()))
    seen.future = max(seen.future, float(moved.future.max()))
    for row in comparison.strongest(moved):
        weighed, sighting = comparison.confirm(plan, row)
        if weighed.verdict is Verdict.LEAK:
            seen.leak = sighting
            return
        if weighed.verdict is Verdict.UNDETERMINED:
            seen.doubts.append(f"{sighting.effect:.1e} at floor {weighed.noise_floor:.1e}")
        # Rows that only move in company belong to the isolation probe, but may drown what each does alone.
        seen.crowded |= float(moved.past[row]) > max(weighed.noise_floor, 2 * sighting.effect)


def _in_words(sighting: Sighting) -> str:
    return (
        f"changing position {sighting.source.position} moves position {sighting.sink.position} by {sighting.effect:.3g}"
    )


def _planned(settings: Settings) -> int:
    """How many sequences are tried on every subject; the adversary breeds more for those that rank something."""
    return changes.how_many(settings) + changes.SWEPT


def _forwards(settings: Settings) -> int:
    own_bases = changes.SWEPT
    return batches(settings, _planned(settings) + own_bases) + 6


PROBE = Probe(
    "perturbation",
    "outputs before a changed suffix or token",
    order=0,
    run=run,
    forwards=_forwards,
    blind_to="dependence on the length, which two inputs of equal length share; state and decoding; paths of training "
    "mode and of other dtypes; and changes that it neither draws, sweeps nor breeds.",
)
