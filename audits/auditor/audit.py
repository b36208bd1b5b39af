"""The audit: run the probes on a subject, classify and place what they saw, and give one verdict."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TypedDict, Unpack

import torch

from audits.auditor.classify import classify
from audits.auditor.presets import PRESETS, STANDS_FOR_OTHERS, THOROUGH
from audits.auditor.probing import Ran, none_run, run_probes
from audits.evidence.machine import environment
from audits.instruments.locate import Place
from audits.instruments.probe import Probe, Report, Sighting
from audits.probes._registry import all_probes
from audits.results import AuditResult, Finding, LeakClass, Verdict
from audits.subject.budget import Budget, OutOfTime
from audits.subject.prepare import prepare
from audits.subject.progress import PREPARING, Pace, Watch
from audits.subject.settings import Settings, SubjectError
from audits.subject.subject import Model, Subject

# Of a model that leaks under perturbation:
SAME_LEAK = ("gradient", "prefix-length", "dtype", "training-mode", "decode")
TRACED = "provenance"  # the probe that finds lines; it is run again on a copy that shows what the subject does not
PREPARATION = 14  # forward passes of finding batch and precision, about


def audit(
    model: Model,
    *,
    input: str = "tokens",  # noqa: A002 - the contract's word
    vocab_size: int | None = None,
    width: int | None = None,
    seq_len: int = 96,
    batch: int = 32,
    seed: int = 0,
    dtype: str | None = None,
    device: str = "cpu",
    documents: str | None = None,
    probes: Sequence[str] | None = None,
    preset: str | None = None,
    target: str | None = None,
    budget: float | Budget | None = None,
    watch: Watch | None = None,
) -> AuditResult:
    """Audit a sequence model for causality leaks.

    Args:
        model: maps tokens int64 [B, N] to [B, N, V], or features float [B, N, D] to [B, N, ...].
        input: "tokens" or "features".
        vocab_size: number of token ids; read from the model when None.
        width: features a position, for feature models.
        seq_len: N; choose it to cross the model's windows and chunks.
        batch: most rows in one forward pass.
        seed: of everything drawn; the same seed gives the same result.
        dtype: "float64", "float32" or "bfloat16"; None means float64 where the model can be cast, else its own.
        device: a torch device name.
        documents: names of arguments, separated by commas, that are held to keep packed documents apart; None holds a
            model to those of its arguments that exist for nothing else.
        probes: names of the probes to run; None runs those of the preset.
        preset: "thorough" (every probe, the default) or "quick" (the fewest that see every planted leak; what is left
            out runs after all where tracing decides nothing). Not together with `probes`.
        target: how the model is called in the result and in the line that reproduces a finding.
        budget: seconds after which no forward pass is started, or a budget that is running already. What was not run
            is UNDETERMINED.
        watch: told a few times a second how far the audit has come.

    Returns:
        The verdict, the findings and what every probe said.

    Raises:
        SubjectError: the model cannot be audited with these settings.
    """
    settings = Settings(input, vocab_size, width, seq_len, batch, seed, dtype, device, documents)
    chosen = _choose(probes, preset)
    settings.check()
    pace = Pace(_running(budget), watch)
    pace.begin(PREPARING, PREPARATION + sum(probe.forwards(settings) for probe in chosen))
    findings, resolved = [], asdict(settings)
    try:
        subject = prepare(model, settings, pace)
    except OutOfTime as problem:
        ran = none_run(chosen, f"{problem} while the audit was prepared, after {pace.now.forwards} forward passes")
    else:
        with subject.borrowed():
            ran = run_probes(subject, chosen)
            if preset and _undecided(ran):
                chosen = all_probes()
                ran |= run_probes(subject, [probe for probe in chosen if probe.name not in ran])
            findings = _findings(subject, ran, target)
        resolved = {**asdict(subject.settings), "dtype": _name(subject)}
    return AuditResult(
        target=target or type(model).__name__,
        verdict=overall(one.report for one in ran.values()),
        findings=tuple(findings),
        probes=tuple(one.result for one in ran.values()),
        settings={
            **resolved,
            "probes": [probe.name for probe in chosen],
            "preset": preset or (THOROUGH if probes is None else None),
            "left_out": [probe.name for probe in all_probes() if probe.name not in ran],
            "budget": pace.budget.seconds,
        },
        environment=environment(),
    )


class Options(TypedDict, total=False):
    """The arguments of `audit`, so that a type checker sees a typo in those of `assert_causal`."""

    input: str
    vocab_size: int | None
    width: int | None
    seq_len: int
    batch: int
    seed: int
    dtype: str | None
    device: str
    documents: str | None
    probes: Sequence[str] | None
    preset: str | None
    target: str | None
    budget: float | Budget | None
    watch: Watch | None


def assert_causal(model: Model, **options: Unpack[Options]) -> None:
    """Raise AssertionError unless every applicable probe passes; takes the arguments of `audit`."""
    result = audit(model, **options)
    if result.verdict is not Verdict.PASS:
        raise AssertionError(explain(result))


def explain(result: AuditResult) -> str:
    """A failed audit in words: positions, class, effect, floor, place, and a line to reproduce each finding."""
    lines = [f"{result.target}: {result.verdict}"]
    for finding in result.findings:
        place = f" in {finding.module!r}" if finding.module else ""
        source = f" ({finding.file}:{finding.line})" if finding.file else ""
        lines += [
            f"  {finding.probe}: {finding.leak_class} leak{place}{source}",
            f"    {finding.what}: effect {finding.effect:.3g}, noise floor {finding.noise_floor:.1e}",
            f"    reproduce: {finding.reproduce}",
        ]
    if not result.findings:
        lines += [f"  {p.name}: {p.why}" for p in result.probes if p.verdict is Verdict.UNDETERMINED and p.applicable]
    return "\n".join(lines)


def _choose(names: Sequence[str] | None, preset: str | None) -> tuple[Probe, ...]:
    if preset is not None and names is not None:
        raise SubjectError("give probes or a preset, not both")
    if preset is not None and preset not in PRESETS:
        raise SubjectError(f"unknown preset {preset!r}: choose from {', '.join(PRESETS)}")
    names = PRESETS[preset] if preset else names
    names = names.split(",") if isinstance(names, str) else names
    known = {probe.name: probe for probe in all_probes()}
    unknown = [name for name in names or () if name not in known]
    if unknown or (names is not None and not names):
        raise SubjectError(f"unknown probe {', '.join(unknown) or '(none)'}: choose from {', '.join(known)}")
    return tuple(probe for name, probe in known.items() if names is None or name in names)


def _undecided(ran: dict[str, Ran]) -> bool:
    """Whether the probe that stands for those a preset leaves out decided nothing."""
    return STANDS_FOR_OTHERS in ran and ran[STANDS_FOR_OTHERS].report.verdict is Verdict.UNDETERMINED


def _running(budget: float | Budget | None) -> Budget:
    try:
        return budget if isinstance(budget, Budget) else Budget(budget)
    except ValueError as problem:
        raise SubjectError(str(problem)) from problem


def overall(reports: Iterable[Report]) -> Verdict:
    """LEAK if any probe saw one; PASS only if every applicable probe passed and at least one did."""
    verdicts = [report.verdict for report in reports if report.applicable]
    if Verdict.LEAK in verdicts:
        return Verdict.LEAK
    return Verdict.PASS if verdicts and set(verdicts) == {Verdict.PASS} else Verdict.UNDETERMINED


def _findings(subject: Subject, ran: dict[str, Ran], target: str | None) -> list[Finding]:
    reports = {name: one.report for name, one in ran.items()}
    findings = []
    shows = "perturbation" if "perturbation" in reports else "provenance"
    shared: Place | None = None  # of the finding for probes that see the same leak without a pair of inputs
    for probe, report in reports.items():
        for sighting, place in zip(report.sightings, ran[probe].places, strict=True):
            where = sighting.seen_in or subject
            known = reports if where is subject or _traced(reports) else _traced_again(probe, report, where)
            shared = place if probe == shows else shared
            if place is None and probe in SAME_LEAK:
                place = shared
            line = _line(probe, sighting, known)
            findings.append(
                Finding(
                    probe=probe,
                    leak_class=_class(where, probe, sighting, reports, place),
                    source=sighting.source,
                    sink=sighting.sink,
                    effect=sighting.effect,
                    noise_floor=sighting.noise_floor,
                    module=place.module or "(the model's own forward)" if place else None,
                    op=line.op,
                    file=line.file or (place.file if place else None),
                    line=line.line if line.file else (place.line if place else None),
                    reproduce=_reproduce(subject, _needed(probe, reports), target),
                )
            )
    return findings


def _traced(reports: dict[str, Report]) -> bool:
    return any(sighting.file for report in reports.values() for sighting in report.sightings)


def _traced_again(probe: str, report: Report, where: Subject) -> dict[str, Report]:
    """What finds the line of a leak that shows in a copy of the subject only."""
    with where.borrowed():
        ran = run_probes(where, [one for one in all_probes() if one.name == TRACED])
    return {probe: report, TRACED: ran[TRACED].report}


def _class(
    subject: Subject, probe: str, sighting: Sighting, reports: dict[str, Report], place: Place | None
) -> LeakClass:
    """The class, as far as there is time to find it out."""
    try:
        return classify(subject, probe, sighting, reports, place)
    except OutOfTime:
        return LeakClass.UNKNOWN


def _line(probe: str, sighting: Sighting, reports: dict[str, Report]) -> Sighting:
    """The sighting whose line of source holds for this one: the traced flow, where both see the same leak."""
    traced = next((s for report in reports.values() for s in report.sightings if s.file), None)
    if traced is None or traced.pair is None:
        return sighting
    if traced.pair.training:
        return traced if probe == "training-mode" else sighting
    if sighting.seen_in is not None:
        return traced
    return traced if probe in ("perturbation", *SAME_LEAK) and _leaks(reports, "perturbation") else sighting


def _name(subject: Subject) -> str:
    return str(subject.dtype or torch.float32).removeprefix("torch.")


def _needed(probe: str, reports: dict[str, Report]) -> list[str]:
    """The probe, and those whose findings give its own their class and place."""
    if probe in ("isolation", "repeat-call", "documents"):
        return [probe]
    leaking = [name for name in ("perturbation", "gradient", "provenance", "prefix-length") if _leaks(reports, name)]
    return list(dict.fromkeys([*leaking, probe]))


def _leaks(reports: dict[str, Report], probe: str) -> bool:
    return probe in reports and reports[probe].verdict is Verdict.LEAK


def _reproduce(subject: Subject, probes: list[str], target: str | None) -> str:
    """One line that shows the finding again: a command where the target has a name, else a call."""
    s = subject.settings
    options = {"input": s.input, "vocab_size": s.vocab_size, "width": s.width, "seq_len": s.seq_len, "batch": s.batch}
    options |= {"seed": s.seed, "dtype": s.dtype, "device": s.device, "documents": s.documents}
    defaults = asdict(Settings())
    kept = {name: value for name, value in options.items() if value != defaults[name] or name in ("seq_len", "seed")}
    if target is None:
        words = ", ".join(f"{name}={value!r}" for name, value in kept.items())
        return f"audit(model, {words}, probes={probes!r})"
    words = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in kept.items())
    return f"hubrouter-audit model {shlex.quote(target)} {words} --probes {','.join(probes)}"
