"""The audit: run the probes on a subject, classify and locate the violations, and give one verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import Any, ParamSpec

import torch

from audits.auditor.findings import findings
from audits.auditor.presets import PRESETS, REPLACES_OTHERS, THOROUGH
from audits.auditor.probing import ProbeRun, run_probes
from audits.evidence.machine import environment
from audits.explanation import excerpt, look_first, meaning, place, sentence
from audits.formatting import did_you_mean
from audits.instruments.probe import Probe, Report, undetermined
from audits.probes._registry import all_probes
from audits.results import AuditResult, CausalityError, Finding, Verdict
from audits.subject.budget import Budget, OutOfTime
from audits.subject.contract import Contract
from audits.subject.prepare import prepare
from audits.subject.progress import PREPARING, AuditClock, ProgressCallback
from audits.subject.settings import Settings, SubjectError
from audits.subject.subject import Model, Subject

P = ParamSpec("P")
PREPARATION = 5  # forward passes that determine batch and precision, about


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
    contract: Contract | None = None,
    probes: Sequence[str] | None = None,
    preset: str | None = None,
    target: str | None = None,
    budget: float | Budget | None = None,
    watch: ProgressCallback | None = None,
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
        documents: names of arguments, separated by commas, that must isolate packed documents; None requires it of
            those arguments of the model that exist for nothing else.
        contract: which output may depend on which input; None: output t on inputs up to t, or what the model is
            recognised by (an encoder-decoder, a forecaster, a codec).
        probes: names of the probes to run; None runs those of the preset.
        preset: "thorough" (every probe, the default) or "quick" (the fewest that detect every planted leak; the others
            run after all where tracing is inconclusive). Not together with `probes`.
        target: the model's name in the result and in the line that reproduces a finding.
        budget: seconds after which no forward pass is started, or a budget that is running already. What was not run
            is UNDETERMINED.
        watch: called a few times a second with the audit's progress.

    Returns:
        The verdict, the findings and the conclusion of every probe.

    Raises:
        SubjectError: the model cannot be audited with these settings.
    """
    settings = Settings(input, vocab_size, width, seq_len, batch, seed, dtype, device, documents, contract)
    chosen = chosen_probes(probes, preset)
    settings.check()
    clock = AuditClock(_running(budget), watch)
    clock.begin_stage(PREPARING, PREPARATION)
    found: list[Finding] = []
    try:
        subject = prepare(model, settings, clock)
    except OutOfTime as problem:
        done = f"after {clock.progress.forwards} forward passes"
        none = ProbeRun(undetermined(f"not run: {problem} while the audit was prepared, {done}"))
        runs, resolved = {probe.name: none for probe in chosen}, settings.as_dict()
    else:
        runs, found, resolved = _examine(subject, chosen, target, extend=preset is not None)
    names = [probe.name for probe in all_probes()]
    return AuditResult(
        target=target or type(model).__name__,
        verdict=overall(run.report for run in runs.values()),
        findings=tuple(found),
        probes=tuple(run.result(name) for name, run in runs.items()),
        settings={
            **resolved,
            "probes": [name for name in names if name in runs],
            "preset": preset or (THOROUGH if probes is None else None),
            "left_out": [name for name in names if name not in runs],
            "budget": clock.budget.seconds,
        },
        environment=environment(),
    )


def _examine(
    subject: Subject, chosen: Sequence[Probe], target: str | None, *, extend: bool
) -> tuple[dict[str, ProbeRun], list[Finding], dict[str, Any]]:
    """The runs, the findings, the settings as resolved; `extend`: by all other probes where tracing decides nothing."""
    with subject.preserve_state():
        runs = run_probes(subject, chosen)
        if extend and _inconclusive(runs):
            runs |= run_probes(subject, [probe for probe in all_probes() if probe.name not in runs])
        found = findings(subject, runs, target)
    outputs = {"outputs": [name or "the first" for name in subject.outputs], "not_judged": subject.not_judged}
    return runs, found, {**subject.asked.as_dict(), "dtype": _name(subject), **outputs}


def _asserting(run: Callable[P, AuditResult]) -> Callable[P, None]:
    """The assertion that an audit passes, with the audit's own arguments."""

    @wraps(run, assigned=())
    def assert_causal(*args: P.args, **kwargs: P.kwargs) -> None:
        """Raise CausalityError, an AssertionError, unless every probe that applies passes; arguments of `audit`."""
        __tracebackhide__ = True  # pytest then shows the caller's line
        result = run(*args, **kwargs)
        if result.verdict is not Verdict.PASS:
            raise CausalityError(explain(result), result)

    return assert_causal


assert_causal = _asserting(audit)


def explain(result: AuditResult) -> str:
    """A failed audit in words: what each finding is, where, what it means, and a line to reproduce it."""
    lines = [f"{result.target}: {result.verdict}"]
    for finding in result.findings:
        lines += [
            f"  {finding.leak_class} leak at {place(finding)}",
            f"    {sentence(finding)}",
            *(f"      {line}" for line in excerpt(finding)),
            f"    {meaning(finding.leak_class)} Look at {look_first(finding.leak_class)}.",
            f"    reproduce: {finding.reproduce}",
        ]
    if not result.findings:
        lines += [f"  {p.name}: {p.why}" for p in result.probes if p.verdict is Verdict.UNDETERMINED and p.applicable]
    return "\n".join(lines)


def chosen_probes(names: Sequence[str] | None, preset: str | None) -> tuple[Probe, ...]:
    """The probes of these names or of a preset, all where neither is given.

    Raises:
        SubjectError: there is no such probe or preset, or both are given.
    """
    if preset is not None and names is not None:
        raise SubjectError("give probes or a preset, not both")
    if preset is not None and preset not in PRESETS:
        raise SubjectError(f"no preset is called {preset!r}: {did_you_mean(str(preset), PRESETS)}")
    names = PRESETS[preset] if preset else names
    names = names.split(",") if isinstance(names, str) else names
    known = {probe.name: probe for probe in all_probes()}
    unknown = [name for name in names or () if name not in known]
    if unknown or (names is not None and not names):
        name = unknown[0] if unknown else ""
        raise SubjectError(f"no probe is called {name or '(none)'}: {did_you_mean(name, known)}")
    return tuple(probe for name, probe in known.items() if names is None or name in names)


def _inconclusive(runs: dict[str, ProbeRun]) -> bool:
    """Whether the probe that replaces those a preset leaves out decided nothing."""
    return REPLACES_OTHERS in runs and runs[REPLACES_OTHERS].report.verdict is Verdict.UNDETERMINED


def _running(budget: float | Budget | None) -> Budget:
    try:
        return budget if isinstance(budget, Budget) else Budget(budget)
    except ValueError as problem:
        raise SubjectError(str(problem)) from problem


def overall(reports: Iterable[Report]) -> Verdict:
    """LEAK if any probe detected one; PASS only if every applicable probe passed and at least one did."""
    verdicts = [report.verdict for report in reports if report.applicable]
    if Verdict.LEAK in verdicts:
        return Verdict.LEAK
    return Verdict.PASS if verdicts and set(verdicts) == {Verdict.PASS} else Verdict.UNDETERMINED


def _name(subject: Subject) -> str:
    return str(subject.dtype or torch.float32).removeprefix("torch.")
