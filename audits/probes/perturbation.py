"""Perturbation: change what comes later, and see whether anything before it moves."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from audits import adversary, changes
from audits.differences import Changes, Comparison, Moved
from audits.probe import Probe, Report, Sighting, undetermined
from audits.randomness import generator
from audits.subject import Subject
from audits.verdicts import Verdict
from audits.waking import asleep, woken

CONFIRMED = 3  # strongest rows run again alone


@dataclass
class _Seen:
    """What has been seen so far.

    Attributes:
        leak: the first confirmed sighting.
        rows: changed sequences tried.
        future: largest difference at or after a cut.
        beyond: largest difference after a position that alone was changed.
        crowded: whether rows moved in company that stand still alone.
        doubts: what could not be told from rounding.
    """

    leak: Sighting | None = None
    rows: int = 0
    future: float = 0.0
    beyond: float = 0.0
    crowded: bool = False
    doubts: list[str] = field(default_factory=list)


def run(subject: Subject) -> Report:
    """Every cut and every position; then, only if the past stood still, the adversary that looks for rankings to flip.

    Positive control: the outputs from the cut on must react, else nothing was tested.
    """
    comparison = Comparison(subject, subject.base())
    if not comparison.alone.isfinite().all():
        return undetermined("the outputs hold NaN or infinite numbers, which hide any influence: mend the model first")
    seen = _search(comparison, thorough=True)
    if seen.leak is not None:
        return Report(Verdict.LEAK, f"{_in_words(seen.leak)} ({seen.rows} changed sequences tried)", (seen.leak,))
    if seen.future == 0:
        return undetermined("positive control failed: no change of the input moved any output, so nothing was tested")
    if seen.doubts:
        doubt = f"the past moved by {seen.doubts[0]}"
        return undetermined(f"{doubt}: rounding and leak cannot be told apart in this precision")
    return _without_leak(subject, seen)


def _search(comparison: Comparison, *, thorough: bool) -> _Seen:
    """All plans in turn until one leaks; where rows feel each other, the plain ones again with one row at a time."""
    subject, base = comparison.subject, comparison.base
    gen = generator(subject.settings.seed, "perturbation")
    singles, suffixes = changes.singles(subject, base, gen), changes.suffixes(subject, base, gen)
    seen = _Seen()
    seen.beyond = _try(comparison, singles, seen)
    _try(comparison, suffixes, seen)
    if thorough:
        _search_further(comparison, gen, seen)
    if seen.crowded and seen.leak is None:
        for plan in (singles, suffixes):
            _try(comparison, plan, seen, rows=1)
    return seen


def _search_further(comparison: Comparison, gen: torch.Generator, seen: _Seen) -> None:
    """Rare tokens, then the adversary."""
    swept = changes.vocabulary_sweep(comparison.subject, comparison.base, gen)
    if swept is not None:
        _try(comparison, swept, seen)
    bred = adversary.search(comparison, gen) if seen.leak is None else None
    if bred is not None:
        _judge(comparison, bred.changes, bred.moved, seen)


def _try(comparison: Comparison, plan: Changes, seen: _Seen, rows: int | None = None) -> float:
    """Measure and judge a plan, unless a leak is known; returns the largest difference beyond a cut."""
    if seen.leak is not None:
        return 0.0
    moved = comparison.measure(plan, rows)
    _judge(comparison, plan, moved, seen)
    return float(moved.beyond.max())


def _judge(comparison: Comparison, plan: Changes, moved: Moved, seen: _Seen) -> None:
    """Run the strongest rows of a plan again, alone."""
    seen.rows += len(plan.cuts)
    seen.future = max(seen.future, float(moved.future.max()))
    for row in moved.past.argsort(descending=True)[:CONFIRMED].tolist():
        if moved.past[row] <= comparison.repeat:
            return
        weighed, sighting = comparison.confirm(plan.inputs[row : row + 1], int(plan.cuts[row]))
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


def _without_leak(subject: Subject, seen: _Seen) -> Report:
    """PASS, unless all-zero weights hide a path from the future that training will open."""
    names = asleep(subject)
    awake = woken(subject, names) if names else None
    if names and awake is None and seen.beyond == 0:
        return undetermined(f"no influence between positions: {names[0]} is all zero and may switch the mixing off")
    hidden = _search(Comparison(awake, awake.base()), thorough=False).leak if awake else None
    subject.forwards += awake.forwards if awake else 0
    if hidden is not None:
        return undetermined(f"all-zero weights ({names[0]}) hide a leak: with small values there, {_in_words(hidden)}")
    also = f"; also with {len(names)} all-zero weights set to small values" if awake else ""
    mixing = "" if seen.beyond > 0 or awake else "; no position influences any other"
    return Report(
        Verdict.PASS,
        f"{seen.rows} changed sequences: outputs before the change stood still, later ones moved{mixing}{also}",
    )


PROBE = Probe(
    "perturbation",
    "outputs before a changed suffix or token",
    order=0,
    run=run,
    blind_to="dependence on the length, which two inputs of equal length share; state and decoding; paths of training "
    "mode and of other dtypes; and changes that it neither draws, sweeps nor breeds.",
)
