"""Runs probes on one subject, one after the other, within its budget; none can take the others down."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from audits.budget import OutOfTime
from audits.differences import scale_of
from audits.locate import Place, find_place
from audits.precision import rounding
from audits.probe import Probe, Report, Sighting, undetermined
from audits.subject import Subject
from audits.verdicts import ProbeResult, Verdict


@dataclass(frozen=True)
class Ran:
    """What a probe reported, what that cost, and the place of each sighting."""

    report: Report
    result: ProbeResult
    places: tuple[Place | None, ...] = ()


def run_probes(subject: Subject, probes: Sequence[Probe]) -> dict[str, Ran]:
    """Every probe in turn, by name; those for which no time is left are undetermined."""
    ran = {}
    for index, probe in enumerate(probes):
        subject.pace.begin(probe.name, sum(later.forwards(subject.settings) for later in probes[index:]))
        forwards, started = subject.forwards, time.perf_counter()
        report = _guarded(subject, probe)
        cost = (subject.forwards - forwards, time.perf_counter() - started)
        # Looked up at once, while there is time.
        places = tuple(_place(subject, sighting) for sighting in report.sightings)
        ran[probe.name] = Ran(report, _result(probe, report, *cost), places)
    return ran


def none_run(probes: Sequence[Probe], why: str) -> dict[str, Ran]:
    """The same where not one of them could be started."""
    report = undetermined(f"not run: {why}")
    return {probe.name: Ran(report, _result(probe, report, 0, 0.0)) for probe in probes}


def _result(probe: Probe, report: Report, forwards: int, seconds: float) -> ProbeResult:
    return ProbeResult(probe.name, report.verdict, report.why, forwards, seconds, report.applicable)


def _place(subject: Subject, sighting: Sighting) -> Place | None:
    try:
        return find_place(sighting.seen_in or subject, sighting)
    except OutOfTime:
        return None


def _guarded(subject: Subject, probe: Probe) -> Report:
    """A probe whose subject raises half-way, or that runs out of time, has decided nothing."""
    before = subject.forwards
    try:
        subject.pace.budget.check()
        return _unless_noisy(subject, probe.run(subject))
    except OutOfTime as problem:
        done = subject.forwards - before
        return undetermined(f"{problem} after {done} forward passes of this probe" if done else f"not run: {problem}")
    except Exception as problem:
        first = str(problem).strip().splitlines()[0] if str(problem).strip() else ""
        return undetermined(f"the model raised {type(problem).__name__}: {first[:200]}")


def _unless_noisy(subject: Subject, report: Report) -> Report:
    """A PASS of a subject whose equal calls differ by more than rounding says nothing about smaller leaks."""
    if report.verdict is not Verdict.PASS or not subject.noise:
        return report
    if subject.noise <= rounding(subject, scale_of(subject.run(subject.base()))):
        return report
    return undetermined(
        f"equal calls differ by {subject.noise / 4:.2g} (randomness that cannot be pinned, or state outside the "
        f"model), which hides anything smaller: {report.why}"
    )
