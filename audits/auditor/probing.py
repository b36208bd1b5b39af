"""Runs probes on one subject, one after the other, within its budget; an error in one does not stop the others."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from audits.formatting import error_text
from audits.instruments.differences import response
from audits.instruments.locate import Location, find_location
from audits.instruments.noise_floor import DRAWS, noise_of, rounding, scale_of
from audits.instruments.probe import Probe, Report, Violation, undetermined
from audits.instruments.reinit_zero_weights import reinit_zero_weights, zero_initialized
from audits.instruments.sampling import at_any_length, is_traced
from audits.results import ProbeResult, Verdict
from audits.subject.budget import OutOfTime
from audits.subject.outputs import MAIN
from audits.subject.subject import Subject

LEAST = 0.5  # of the time left any probe may take, since a leak costs more to confirm than to rule out; our choice


@dataclass(frozen=True)
class ProbeRun:
    """What a probe reported, what it cost in forward passes and seconds, and the location of each violation."""

    report: Report
    forwards: int = 0
    seconds: float = 0.0
    locations: tuple[Location | None, ...] = ()

    def result(self, name: str) -> ProbeResult:
        """Its line in the audit's result."""
        report = self.report
        return ProbeResult(name, report.verdict, report.why, self.forwards, self.seconds, report.applicable)


def run_probes(subject: Subject, probes: Sequence[Probe]) -> dict[str, ProbeRun]:
    """Every probe in turn, by name; those for which no time is left are undetermined.

    Without a leak so far, all run once more on a copy whose all-zero weights hold small values, because training will
    enable the paths that they switch off.
    """
    runs = _run_each(subject, probes)
    names = zero_initialized(subject)
    if not names or any(run.report.verdict is Verdict.LEAK for run in runs.values()):
        return runs
    try:
        other = reinit_zero_weights(subject, names)
    except OutOfTime:
        other = None
    if subject.plan is not None:
        names = tuple(name.removeprefix("model.") for name in names)  # as the model under the contract calls them
    if other is None:
        return {name: replace(run, report=_untried(run.report, names[0])) for name, run in runs.items()}
    with other.preserve_state():
        again = _run_each(other, [probe for probe in probes if runs[probe.name].report.applicable])
    return {
        name: _together(subject, run, again[name], names, other) if name in again else run for name, run in runs.items()
    }


def _untried(report: Report, name: str) -> Report:
    """A subject whose all-zero weights could not be tried with other values does not pass."""
    if report.verdict is not Verdict.PASS:
        return report
    return undetermined(f"the all-zero weights ({name}) could not be tried with small values: {report.why}")


def _together(subject: Subject, run: ProbeRun, again: ProbeRun, names: tuple[str, ...], other: Subject) -> ProbeRun:
    """A probe's run on the subject as it came, with that on the copy with small values in its all-zero weights."""
    second, weights = again.report, f"all-zero weights ({names[0]})"
    if second.verdict is Verdict.LEAK and any(v.pair and _may_show(subject, v) for v in second.violations):
        report = second  # found by what is tried on the copy only
    elif second.verdict is Verdict.LEAK:
        violations = tuple(replace(v, seen_in=v.seen_in or other) for v in second.violations)
        why = f"{weights} hide a leak that training enables: with small values there, {second.why}"
        report = Report(Verdict.LEAK, why, violations)
    elif run.report.control_failed and second.applicable:
        report = replace(second, why=f"{weights} silence the outputs; with small values there: {second.why}")
    elif run.report.verdict is not Verdict.PASS or not second.applicable:
        report = run.report
    elif second.verdict is Verdict.PASS:
        also = f"; also with {len(names)} all-zero weights set to small values"
        report = replace(second, why=second.why + also)
    else:
        report = undetermined(f"with small values in {weights}: {second.why}")
    return ProbeRun(report, run.forwards + again.forwards, run.seconds + again.seconds, again.locations)


def _run_each(subject: Subject, probes: Sequence[Probe]) -> dict[str, ProbeRun]:
    """The runs in the order of the probes; those that cost least run first, each within its share of the budget."""
    for known_to_all in (noise_of, is_traced):  # what hides an effect, and how much there is to try
        with contextlib.suppress(Exception, OutOfTime):  # the probes report what raises
            known_to_all(subject)
    costs = {probe.name: _cost(subject, probe) for probe in probes}
    runs = {}
    for probe in sorted(probes, key=lambda probe: costs[probe.name]):
        left = sum(costs.values())
        subject.clock.begin_stage(probe.name, left)
        forwards, started = subject.forwards, time.perf_counter()
        with subject.clock.budget.share(max(LEAST, costs.pop(probe.name) / left)):
            report = _examined(subject, probe)
        forwards, seconds = subject.forwards - forwards, time.perf_counter() - started
        # Located at once, while there is time.
        locations = tuple(_locate(subject, violation) for violation in report.violations)
        runs[probe.name] = ProbeRun(report, forwards, seconds, locations)
    return {probe.name: runs[probe.name] for probe in probes}


def _cost(subject: Subject, probe: Probe) -> int:
    try:
        return max(1, probe.forwards(subject))
    except (Exception, OutOfTime):  # its run reports what raises
        return 1


def _examined(subject: Subject, probe: Probe) -> Report:
    """A probe's report on the subject, or on a shorter sequence where that will do."""
    examined = at_any_length(subject) if probe.at_any_length else subject
    report = _of_one_output(examined, probe, _guarded(examined, probe))
    if examined is subject or not report.applicable:
        return report
    of = f"{examined.settings.seq_len} of {subject.settings.seq_len} positions"
    violations = tuple(replace(v, seen_in=v.seen_in or examined) for v in report.violations)
    return replace(report, why=f"{report.why} (at {of}, because the trace is complete)", violations=violations)


def _of_one_output(subject: Subject, probe: Probe, report: Report) -> Report:
    """A leak that the outputs of a model show together, by the first of them that shows it alone."""
    if report.verdict is not Verdict.LEAK or len(subject.outputs) == 1:
        return report
    for name in subject.outputs:
        one = subject.variant(outputs=(name,))
        if not any(_may_show(one, violation) for violation in report.violations):
            continue
        alone = _guarded(one, probe)
        if alone.verdict is Verdict.LEAK and name == MAIN:
            return alone
        if alone.verdict is Verdict.LEAK:
            changed = f'output "{name}"'
            found = tuple(replace(v, changed=changed, seen_in=v.seen_in or one) for v in alone.violations)
            return replace(alone, why=f"{changed}: {alone.why}", violations=found)
    return report


def _may_show(subject: Subject, violation: Violation) -> bool:
    """Whether a subject may show a violation that another did; a pair of its own inputs decides that at once."""
    if violation.pair is None or violation.seen_in is not None:
        return True
    return float(response(subject, violation.pair).max()) > violation.noise_floor


def _locate(subject: Subject, violation: Violation) -> Location | None:
    try:
        return find_location(violation.seen_in or subject, violation)
    except OutOfTime:
        return None


def _guarded(subject: Subject, probe: Probe) -> Report:
    """A probe's report; undetermined where the subject raised an error half-way, or time ran out."""
    before = subject.forwards
    try:
        subject.clock.budget.check()
        return _unless_random(subject, _unless_noisy(subject, probe.run(subject)))
    except OutOfTime as problem:
        done = subject.forwards - before
        return undetermined(f"{problem} after {done} forward passes of this probe" if done else f"not run: {problem}")
    except Exception as problem:
        return undetermined(f"the model raised {error_text(problem)}")


def _unless_random(subject: Subject, report: Report) -> Report:
    """The reason why effects of different shapes decide nothing in a model that draws random numbers."""
    if report.verdict is not Verdict.UNDETERMINED or not report.applicable or not subject.known.get(DRAWS):
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
