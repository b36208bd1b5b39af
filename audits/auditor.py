"""The audit: run the probes on a subject, classify and place what they saw, and give one verdict."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import torch

from audits.classify import classify
from audits.differences import scale_of
from audits.locate import Place, find_place
from audits.machine import environment
from audits.precision import rounding
from audits.presets import PRESETS, STANDS_FOR_OTHERS, THOROUGH
from audits.probe import Probe, Report, Sighting, all_probes, undetermined
from audits.subject import Model, Settings, Subject, SubjectError, prepare
from audits.verdicts import AuditResult, Finding, ProbeResult, Verdict

# Of a model that leaks under perturbation:
SAME_LEAK = ("gradient", "prefix-length", "dtype", "training-mode", "decode")
Watch = Callable[[str, int, int], None]  # name of the probe that starts, its index, how many there are


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
    probes: Sequence[str] | None = None,
    preset: str | None = None,
    target: str | None = None,
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
        probes: names of the probes to run; None runs those of the preset.
        preset: "thorough" (every probe, the default) or "quick" (the fewest that see every planted leak; what is left
            out runs after all where tracing decides nothing). Not together with `probes`.
        target: how the model is called in the result and in the line that reproduces a finding.
        watch: told which probe starts.

    Returns:
        The verdict, the findings and what every probe said.

    Raises:
        SubjectError: the model cannot be audited with these settings.
    """
    settings = Settings(input, vocab_size, width, seq_len, batch, seed, dtype, device)
    chosen = _choose(probes, preset)
    subject = prepare(model, settings)
    with subject.borrowed():
        ran = run_probes(subject, chosen, watch)
        if preset and _undecided(ran):
            chosen = all_probes()
            ran = ran.and_then(run_probes(subject, tuple(p for p in chosen if p.name not in ran.reports), watch))
        reports = ran.reports
        findings = _findings(subject, reports, target)
    return AuditResult(
        target=target or type(model).__name__,
        verdict=overall(reports),
        findings=tuple(findings),
        probes=ran.results,
        settings={
            **asdict(subject.settings),
            "dtype": _name(subject),
            "probes": [p.name for p in chosen],
            "preset": preset or (THOROUGH if probes is None else None),
            "left_out": [p.name for p in all_probes() if p.name not in ran.reports],
        },
        environment=environment(),
    )


def assert_causal(model: Model, **options: object) -> None:
    """Raise AssertionError unless every applicable probe passes; takes the arguments of `audit`."""
    result = audit(model, **options)  # type: ignore[arg-type]
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


@dataclass(frozen=True)
class Ran:
    """What some probes reported, by name, and the same as results with what they cost."""

    reports: dict[str, Report]
    results: tuple[ProbeResult, ...]

    def and_then(self, later: Ran) -> Ran:
        """Both together."""
        return Ran({**self.reports, **later.reports}, (*self.results, *later.results))


def _undecided(ran: Ran) -> bool:
    """Whether the probe that stands for those a preset leaves out decided nothing."""
    report = ran.reports.get(STANDS_FOR_OTHERS)
    return report is not None and report.verdict is Verdict.UNDETERMINED


def run_probes(subject: Subject, probes: tuple[Probe, ...], watch: Watch | None = None) -> Ran:
    """Run some probes in turn; one whose subject raises says so and does not take the others down."""
    reports, results = {}, []
    for index, probe in enumerate(probes):
        if watch:
            watch(probe.name, index, len(probes))
        forwards, started = subject.forwards, time.perf_counter()
        report = reports[probe.name] = _unless_noisy(subject, _guarded(subject, probe))
        seconds = time.perf_counter() - started
        results.append(
            ProbeResult(probe.name, report.verdict, report.why, subject.forwards - forwards, seconds, report.applicable)
        )
    return Ran(reports, tuple(results))


def _guarded(subject: Subject, probe: Probe) -> Report:
    """A probe whose subject raises half-way has decided nothing; it must not take the others down."""
    try:
        return probe.run(subject)
    except Exception as problem:
        first = str(problem).strip().splitlines()[0] if str(problem).strip() else ""
        return undetermined(f"the model raised {type(problem).__name__}: {first[:200]}")


def _unless_noisy(subject: Subject, report: Report) -> Report:
    """A PASS of a subject whose equal calls differ by more than rounding says nothing about smaller leaks."""
    noise = subject.noise or 0.0
    if report.verdict is not Verdict.PASS or noise <= rounding(subject, scale_of(subject.run(subject.base()))):
        return report
    return undetermined(
        f"equal calls differ by {noise / 4:.2g} (randomness that cannot be pinned, or state outside the model), "
        f"which hides anything smaller: {report.why}"
    )


def overall(reports: dict[str, Report]) -> Verdict:
    """LEAK if any probe saw one; PASS only if every applicable probe passed and at least one did."""
    verdicts = [report.verdict for report in reports.values() if report.applicable]
    if Verdict.LEAK in verdicts:
        return Verdict.LEAK
    return Verdict.PASS if verdicts and set(verdicts) == {Verdict.PASS} else Verdict.UNDETERMINED


def _findings(subject: Subject, reports: dict[str, Report], target: str | None) -> list[Finding]:
    findings = []
    shows = "perturbation" if "perturbation" in reports else "provenance"
    shared: Place | None = None  # of the finding for probes that see the same leak without a pair of inputs
    for probe, report in reports.items():
        for sighting in report.sightings:
            where = sighting.seen_in or subject
            place = find_place(where, sighting)
            shared = place if probe == shows else shared
            if place is None and probe in SAME_LEAK:
                place = shared
            line = _line(probe, sighting, reports)
            findings.append(
                Finding(
                    probe=probe,
                    leak_class=classify(where, probe, sighting, reports, place),
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


def _line(probe: str, sighting: Sighting, reports: dict[str, Report]) -> Sighting:
    """The sighting whose line of source holds for this one: the traced flow, where both see the same leak."""
    traced = next((s for report in reports.values() for s in report.sightings if s.file), None)
    if traced is None or traced.pair is None:
        return sighting
    if traced.pair.training:
        return traced if probe == "training-mode" else sighting
    return traced if probe in ("perturbation", *SAME_LEAK) and _leaks(reports, "perturbation") else sighting


def _name(subject: Subject) -> str:
    return str(subject.dtype or torch.float32).removeprefix("torch.")


def _needed(probe: str, reports: dict[str, Report]) -> list[str]:
    """The probe, and those whose findings give its own their class and place."""
    if probe in ("isolation", "repeat-call"):
        return [probe]
    leaking = [name for name in ("perturbation", "gradient", "provenance", "prefix-length") if _leaks(reports, name)]
    return list(dict.fromkeys([*leaking, probe]))


def _leaks(reports: dict[str, Report], probe: str) -> bool:
    return probe in reports and reports[probe].verdict is Verdict.LEAK


def _reproduce(subject: Subject, probes: list[str], target: str | None) -> str:
    """One line that shows the finding again: a command where the target has a name, else a call."""
    s = subject.settings
    options = {"input": s.input, "vocab_size": s.vocab_size, "width": s.width, "seq_len": s.seq_len, "batch": s.batch}
    options |= {"seed": s.seed, "dtype": s.dtype, "device": s.device}
    defaults = asdict(Settings())
    kept = {name: value for name, value in options.items() if value != defaults[name] or name in ("seq_len", "seed")}
    if target is None:
        words = ", ".join(f"{name}={value!r}" for name, value in kept.items())
        return f"audit(model, {words}, probes={probes!r})"
    words = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in kept.items())
    return f"hubrouter-audit model {shlex.quote(target)} {words} --probes {','.join(probes)}"
