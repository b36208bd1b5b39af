"""Runs probes on one subject, one after the other, within its budget; none can take the others down."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from audits.formatting import error_text
from audits.instruments.differences import scale_of
from audits.instruments.locate import Place, find_place
from audits.instruments.noise_floor import rounding
from audits.instruments.probe import Probe, Report, Sighting, undetermined
from audits.instruments.reinit_zero_weights import asleep, woken
from audits.results import ProbeResult, Verdict
from audits.subject.budget import OutOfTime
from audits.subject.subject import Subject


@dataclass(frozen=True)
class Ran:
    """What a probe reported, what that cost, and the place of each sighting."""

    report: Report
    result: ProbeResult
    places: tuple[Place | None, ...] = ()


def run_probes(subject: Subject, probes: Sequence[Probe]) -> dict[str, Ran]:
    """Every probe in turn, by name; those for which no time is left are undetermined.

    Without a leak so far, the same once more on a copy whose all-zero weights hold small values: training opens what
    they switch off.
    """
    ran = _each(subject, probes)
    names = asleep(subject)
    if not names or any(one.report.verdict is Verdict.LEAK for one in ran.values()):
        return ran
    try:
        awake = woken(subject, names)
    except OutOfTime:
        awake = None
    if awake is None:
        return {name: _with_report(one, _untried(one.report, names[0])) for name, one in ran.items()}
    with awake.borrowed():
        again = _each(awake, [probe for probe in probes if ran[probe.name].report.applicable])
    subject.forwards += awake.forwards
    return {name: _together(one, again[name], names, awake) if name in again else one for name, one in ran.items()}


def _untried(report: Report, name: str) -> Report:
    """A pass of a subject whose zero weights could not be tried with other values is none."""
    if report.verdict is not Verdict.PASS:
        return report
    return undetermined(f"the all-zero weights ({name}) could not be tried with small values: {report.why}")


def _together(one: Ran, again: Ran, names: tuple[str, ...], awake: Subject) -> Ran:
    """What a probe said of the subject as it came, and of the copy with small values in its all-zero weights."""
    told, what = again.report, f"all-zero weights ({names[0]})"
    if told.verdict is Verdict.LEAK:
        sightings = tuple(replace(s, seen_in=s.seen_in or awake) for s in told.sightings)
        why = f"{what} hide a leak that training opens: with small values there, {told.why}"
        report = Report(Verdict.LEAK, why, sightings)
    elif one.report.still and told.applicable:
        report = replace(told, why=f"{what} silence the outputs; with small values there: {told.why}")
    elif one.report.verdict is not Verdict.PASS or not told.applicable:
        report = one.report
    elif told.verdict is Verdict.PASS:
        also = f"; also with {len(names)} all-zero weights set to small values"
        report = replace(one.report, why=one.report.why + also)
    else:
        report = undetermined(f"with small values in {what}: {told.why}")
    forwards, seconds = one.result.forwards + again.result.forwards, one.result.seconds + again.result.seconds
    one = replace(one, places=again.places, result=replace(one.result, forwards=forwards, seconds=seconds))
    return _with_report(one, report)


def _with_report(one: Ran, report: Report) -> Ran:
    result = replace(one.result, verdict=report.verdict, why=report.why, applicable=report.applicable)
    return replace(one, report=report, result=result)


def _each(subject: Subject, probes: Sequence[Probe]) -> dict[str, Ran]:
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
        return _unless_drawn(subject, _unless_noisy(subject, probe.run(subject)))
    except OutOfTime as problem:
        done = subject.forwards - before
        return undetermined(f"{problem} after {done} forward passes of this probe" if done else f"not run: {problem}")
    except Exception as problem:
        return undetermined(f"the model raised {error_text(problem)}")


def _unless_drawn(subject: Subject, report: Report) -> Report:
    """The reason why effects of different shapes decide nothing in a model that draws random numbers."""
    if report.verdict is not Verdict.UNDETERMINED or not subject.random:
        return report
    why = "it draws random numbers in evaluation mode, others at another shape, so that shapes cannot be compared"
    return replace(report, why=f"{why}: {report.why}")


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
