"""From what probes saw to findings: class, module, operation and line of each leak, and a line that reproduces it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import replace

from audits.auditor.classify import classify, violations_of
from audits.auditor.in_slots import finding_in_slots
from audits.auditor.parting import parted
from audits.auditor.probing import ProbeRun, run_probes
from audits.instruments.locate import Location
from audits.instruments.probe import Report, Violation
from audits.probes._registry import all_probes
from audits.results import Finding, LeakClass
from audits.subject.budget import OutOfTime
from audits.subject.settings import Settings
from audits.subject.subject import Subject

# Probes whose effects, in a model that leaks under perturbation, are the same leak.
SAME_LEAK = ("gradient", "prefix-length", "dtype", "training-mode", "decode", "padding")
TRACING = "provenance"  # the probe that finds lines; it is run again on a copy that leaks where the subject does not


def findings(subject: Subject, runs: Mapping[str, ProbeRun], target: str | None) -> list[Finding]:
    """One finding for each place and class, those first that a pair of inputs shows, in the order of the probes."""
    return _together(_violations_found(subject, runs, target))


def _together(found: Iterable[tuple[Finding, bool]]) -> list[Finding]:
    """The findings of one place and class as one, each given with whether a pair of inputs shows it."""
    groups: list[list[Finding]] = []
    for finding, _ in sorted(found, key=lambda item: (not _placed(item[0]), item[0].op is None, not item[1])):
        group = next((group for group in groups if _same(group[0], finding)), None)
        groups.append([finding]) if group is None else group.append(finding)
    return [replace(group[0], probes=tuple(dict.fromkeys(each.probe for each in group))) for group in groups]


def _placed(finding: Finding) -> bool:
    return (finding.file or finding.module) is not None


def _same(one: Finding, other: Finding) -> bool:
    """Whether a finding is the same as an earlier one: what has no operation, or no place at all, adds none to it."""
    if (one.leak_class, one.changed) != (other.leak_class, other.changed):
        return False
    at_line = (one.file, one.line) == (other.file, other.line)
    return not _placed(other) or at_line or (other.op is None and one.module == other.module)


def _violations_found(
    subject: Subject, runs: Mapping[str, ProbeRun], target: str | None
) -> Iterable[tuple[Finding, bool]]:
    """A finding for every violation, in the order of the probes, and whether a pair of inputs shows it."""
    reports = {name: run.report for name, run in runs.items()}
    shows = "perturbation" if "perturbation" in reports else TRACING
    shared: Location | None = None  # of that probe's violation, for probes that see the same leak without a pair
    for probe, report in reports.items():
        for violation, location in zip(report.violations, runs[probe].locations, strict=True):
            leaking = violation.seen_in or subject
            known = reports if leaking is subject or _traced(reports) else _traced_again(probe, report, leaking)
            shared = location if probe == shows else shared
            if location is None and probe in SAME_LEAK:
                location = shared
            line = _with_line(probe, violation, known)
            if line.file is None:
                line, part = parted(leaking, probe, line)
                location = part or location
            finding = Finding(
                probe=probe,
                leak_class=_class(leaking, probe, violation, reports, location),
                source=violation.source,
                sink=violation.sink,
                effect=violation.effect,
                noise_floor=violation.noise_floor,
                module=location.module or "(the model's own forward)" if location else None,
                op=line.op,
                file=line.file or (location.file if location else None),
                line=line.line if line.file else (location.line if location else None),
                reproduce=_reproduce(subject, _needed(probe, reports), target),
                changed=violation.changed,
                trace=line.trace,
            )
            yield finding_in_slots(subject, violation, finding), violation.pair is not None


def _traced(reports: Mapping[str, Report]) -> bool:
    return any(violation.file for report in reports.values() for violation in report.violations)


def _traced_again(probe: str, report: Report, leaking: Subject) -> dict[str, Report]:
    """The reports that find the line of a leak that occurs in a copy of the subject only."""
    with leaking.preserve_state():
        runs = run_probes(leaking, [one for one in all_probes() if one.name == TRACING])
    return {probe: report, TRACING: runs[TRACING].report}


def _class(
    subject: Subject, probe: str, violation: Violation, reports: Mapping[str, Report], location: Location | None
) -> LeakClass:
    """The class; unknown where no time is left to determine it, or the model refuses the calls that would."""
    try:
        return classify(subject, probe, violation, reports, location)
    except (Exception, OutOfTime):
        return LeakClass.UNKNOWN


def _with_line(probe: str, violation: Violation, reports: Mapping[str, Report]) -> Violation:
    """The violation whose source line holds for this one: the traced flow, where both are the same leak."""
    traced = next((v for report in reports.values() for v in report.violations if v.file), None)
    if traced is None or traced.pair is None:
        return violation
    if traced.pair.training:
        return traced if probe == "training-mode" else violation
    if violation.seen_in is not None:
        return traced
    shows = "perturbation" if "perturbation" in reports else TRACING
    return traced if probe in ("perturbation", *SAME_LEAK) and violations_of(reports, shows) else violation


def _needed(probe: str, reports: Mapping[str, Report]) -> list[str]:
    """The probe, and those whose findings determine the class and location of its own."""
    if probe in ("isolation", "repeat-call", "documents"):
        return [probe]
    leaking = [name for name in ("perturbation", "gradient", TRACING, "prefix-length") if violations_of(reports, name)]
    return list(dict.fromkeys([*leaking, probe]))


def _reproduce(subject: Subject, probes: list[str], target: str | None) -> str:
    """One line that reproduces the finding: a command where the target has a name, else a call."""
    options, defaults, contract = vars(subject.asked), vars(Settings()), subject.asked.contract
    kept = {name: value for name, value in options.items() if value != defaults[name] or name in ("seq_len", "seed")}
    if target is None:
        arguments = ", ".join(f"{name}={value!r}" for name, value in kept.items())
        return f"audit(model, {arguments}, probes={probes!r})"
    kept.pop("contract", None)
    words = [f"--{name.replace('_', '-')} {value}" for name, value in kept.items()]
    words += contract.options() if contract is not None else []
    return f"hubrouter-audit model {shlex.quote(target)} {' '.join(words)} --probes {','.join(probes)}"
