"""Perturbation: change what comes later, and see whether anything before it moves."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from audits import adversary, changes
from audits.differences import Changes, Comparison, Moved
from audits.probe import Probe, Report, Sighting, undetermined
from audits.randomness import generator
from audits.subject import Subject
from audits.verdicts import Verdict

CONFIRMED = 3  # strongest rows run again alone


def run(subject: Subject) -> Report:
    """Every cut and every position; then, only if the past stood still, the adversary that looks for rankings to flip.

    Positive control: the outputs from the cut on must react, else nothing was tested.
    """
    comparison = Comparison(subject, subject.base())
    if not comparison.alone.isfinite().all():
        return undetermined("the outputs hold NaN or infinite numbers, which hide any influence: mend the model first")
    gen = generator(subject.settings.seed, "perturbation")
    rows, future, beyond = 0, 0.0, 0.0
    doubts: list[str] = []
    for plan in _plans(subject, comparison, gen):
        moved = comparison.measure(plan)
        rows += len(plan.cuts)
        future, beyond = max(future, float(moved.future.max())), max(beyond, float(moved.beyond.max()))
        found, doubt = _confirm(comparison, plan, moved)
        doubts += doubt
        if found is not None:
            return Report(Verdict.LEAK, _why_leak(found, rows), (found,))
    return _without_leak(subject, rows, future, beyond, doubts)


def _plans(subject: Subject, comparison: Comparison, gen: torch.Generator) -> Iterator[Changes]:
    base = comparison.base
    yield changes.singles(subject, base, gen)
    yield changes.suffixes(subject, base, gen)
    swept = changes.vocabulary_sweep(subject, base, gen)
    if swept is not None:
        yield swept
    bred = adversary.search(subject, base, gen)
    if bred is not None:
        yield bred


def _confirm(comparison: Comparison, plan: Changes, moved: Moved) -> tuple[Sighting | None, list[str]]:
    """The strongest rows again, alone: rows that only moved in company belong to the isolation probe."""
    doubts = []
    for row in moved.past.argsort(descending=True)[:CONFIRMED].tolist():
        if moved.past[row] > comparison.repeat:
            weighed, sighting = comparison.confirm(plan.inputs[row : row + 1], int(plan.cuts[row]))
            if weighed.verdict is Verdict.LEAK:
                return sighting, []
            if weighed.verdict is Verdict.UNDETERMINED:
                doubts.append(f"{sighting.effect:.1e} at floor {weighed.noise_floor:.1e}")
    return None, doubts


def _why_leak(sighting: Sighting, rows: int) -> str:
    return (
        f"changing position {sighting.source.position} moves position {sighting.sink.position} "
        f"by {sighting.effect:.3g} ({rows} changed sequences tried)"
    )


def _without_leak(subject: Subject, rows: int, future: float, beyond: float, doubts: list[str]) -> Report:
    if future == 0:
        return undetermined("positive control failed: no change of the input moved any output, so nothing was tested")
    if doubts:
        return undetermined(f"the past moved by {doubts[0]}: rounding and leak cannot be told apart in this precision")
    silent = _silenced(subject)
    if beyond == 0 and silent:
        return undetermined(
            f"no influence between positions: {silent} is all zero and may switch the mixing off; train first"
        )
    mixing = "" if beyond > 0 else "; no position influences any other"
    return Report(
        Verdict.PASS, f"{rows} changed sequences: outputs before the change stood still, later ones moved{mixing}"
    )


def _silenced(subject: Subject) -> str | None:
    """The name of a weight that is all zero, as zero-initialised output projections are."""
    named = subject.module.named_parameters() if subject.module else ()
    return next((name for name, p in named if (p.ndim >= 2 or "bias" not in name) and not p.any()), None)


PROBE = Probe("perturbation", "outputs before a changed suffix or token", order=0, run=run)
