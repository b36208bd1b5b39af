"""Dtype: the audit runs in float64 where it can, but models branch on their dtype; so test their own path too."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import torch

from audits.instruments import changes
from audits.instruments.differences import Changes, Comparison, Effects
from audits.instruments.noise_floor import comparable, max_abs_diff, noise_of, rounding, scale_of
from audits.instruments.probe import Probe, Report, Violation, batches, failed_control, not_applicable, undetermined
from audits.instruments.sampling import in_words
from audits.results import Verdict
from audits.subject.half_products import HALF, HalfProducts
from audits.subject.operations import record, usual_size
from audits.subject.prepare import in_dtype, with_dtype
from audits.subject.randomness import generator
from audits.subject.subject import Mode, Subject, own_dtype

ROWS = 32  # changed sequences in each dtype that few models treat in a way of its own; our choice
MORE = 4  # times as many changes are drawn again as a sweep has, for an effect that rounding cannot explain; our choice


@dataclass(frozen=True)
class _Way:
    """A dtype of the parameters, and one that autocast computes in."""

    dtype: torch.dtype
    autocast: torch.dtype | None = None

    def __str__(self) -> str:
        name = str(self.autocast or self.dtype).removeprefix("torch.")
        return f"{name} by autocast" if self.autocast else name

    def modes(self, device: str) -> tuple[Mode, ...]:
        """What is active during a call."""
        kind, half = torch.device(device).type, (self.autocast or self.dtype) in HALF
        cast = (partial(torch.autocast, kind, dtype=self.autocast),) if self.autocast else ()
        return (HalfProducts, *cast) if half else cast


# Models of any dtype are trained and served in these.
BFLOAT16 = _Way(torch.bfloat16)
FURTHER = (
    _Way(torch.float16),
    _Way(torch.float32, autocast=torch.bfloat16),
    _Way(torch.float32, autocast=torch.float16),
)


def run(subject: Subject) -> Report:
    """Every cut and every position in the dtype the model came in, then in bfloat16; some in float16 and by autocast.

    Pairs with an effect are run again on the same path in float64, where rounding vanishes and a leak stays. An effect
    that is too large for rounding is never called that: more changes are drawn, and if none shows it in float64, it is
    undetermined. Positive control: outputs from the cut on must react.
    """
    if subject.settings.dtype is not None:
        return not_applicable(f"{subject.settings.dtype} was asked for, and only that is audited")
    if subject.module is None and subject.settings.input == "tokens":
        return not_applicable("a plain callable of tokens has one dtype")
    if not subject.copied and subject.module is not None:
        return not_applicable("the model cannot be copied, so it was audited in its own dtype")
    own = _Way(own_dtype(subject.original) or torch.float32)  # features of a plain callable are usually float32
    reports = []
    for way in dict.fromkeys((own, BFLOAT16, *FURTHER)):
        reports.append(_in_way(subject, way, own))
        if reports[-1].verdict is Verdict.LEAK:
            return reports[-1]
    judged = [report for report in reports if report.applicable]
    if not judged:
        return not_applicable("; ".join(report.why.removeprefix("not applicable: ") for report in reports[:2]))
    for report in judged:
        if report.verdict is Verdict.UNDETERMINED:
            return replace(report, violations=())
    return Report(Verdict.PASS, f"{', '.join(r.why for r in judged)}: no output before the change differed")


def _in_way(subject: Subject, way: _Way, own: _Way) -> Report:
    """The report on one dtype; not applicable where the subject was audited in it, or does not run in it."""
    if way.dtype == subject.dtype and not way.autocast:
        return not_applicable(f"it was audited in {way}")
    dtype, modes = None if way == own and subject.module is not None else way.dtype, way.modes(subject.settings.device)
    if way in FURTHER and way != own and (quick := _unmoved(subject, way, modes)) is not None:
        return quick
    other = with_dtype(subject, dtype, *modes)
    if other is None:
        return not_applicable(f"it does not run in {way}")
    other.in_dtype = partial(in_dtype, other)
    other.noise = max(noise_of(other), noise_of(subject))  # coarser numbers hide noise in some calls only
    report = _perturbed(other, way)
    # What was not asked for and cannot be decided counts as not tested, unless a violation of it is known.
    unasked = way != own and report.verdict is Verdict.UNDETERMINED and not report.violations
    return not_applicable(report.why) if unasked else report


def _unmoved(subject: Subject, way: _Way, modes: tuple[Mode, ...]) -> Report | None:
    """The report where few changes move no earlier output, or the model does not run so; None where one moves."""
    try:
        other = Subject(subject.original, subject.settings, way.dtype, subject.clock, (*subject.modes, *modes))
        other.outputs = subject.outputs
        with other.preserve_state():
            plan = changes.some(other, other.base(), _generator(other), min(ROWS, other.rows()))
            before, after = (other.run(inputs) for inputs in (subject.base().expand_as(plan.inputs), plan.inputs))
    except Exception:
        return not_applicable(f"it does not run in {way}")
    effects = Effects.of(max_abs_diff(before, after).cpu(), plan.cuts)
    if not comparable(before) or not effects.future.any():
        return not_applicable(f"the outputs in {way} are not finite, or do not react")
    return None if effects.past.any() else Report(Verdict.PASS, f"{len(plan.cuts)} changed sequences in {way}")


def _generator(subject: Subject) -> torch.Generator:
    return generator(subject.settings.seed, "dtype")


def _perturbed(subject: Subject, way: _Way) -> Report:
    with subject.preserve_state():
        comparison = Comparison(subject, subject.base())
        if not comparable(comparison.base_outputs):
            return undetermined(f"the outputs in {way} hold NaN or infinite numbers")
        return _judge(comparison, changes.everywhere(subject, comparison.base, _generator(subject)), way)


def _judge(comparison: Comparison, plan: Changes, way: _Way) -> Report:
    subject, effects = comparison.subject, comparison.measure(plan)
    if not float(effects.future.max()):
        return failed_control(f"no change of the input changed any output in {way}")
    doubt: Report | None = None
    for judged in comparison.confirmed(plan, effects):
        violation = judged.violation
        if judged.leaks:
            return _leak(violation, subject, way)
        effect = f"in {way} outputs before the change differed by {violation.effect:.1e}"
        most = max(violation.noise_floor, _most_rounding(subject))
        if not comparison.noise and violation.effect > most:
            why = f"{effect}, too much for rounding, but {MORE} more sweeps of changes showed nothing in float64"
            return _drawn_again(subject, way, most) or Report(Verdict.UNDETERMINED, why, (violation,))
        if judged.verdict is Verdict.UNDETERMINED:
            doubt = undetermined(f"{effect}, perhaps by rounding alone")
    sampled = in_words(subject, subject.settings.seq_len - 1, "cuts")
    return doubt or Report(Verdict.PASS, f"{len(plan.cuts)} changed sequences in {way}{sampled}")


def _most_rounding(subject: Subject) -> float:
    """The largest effect that rounding may have on outputs: they, or numbers on the way to them, may be large."""
    outputs, sizes = record(partial(subject.run, subject.base()), lambda ran: map(usual_size, ran.floats()))
    return rounding(subject, max([*sizes, scale_of(outputs)]))


def _drawn_again(subject: Subject, way: _Way, most: float) -> Report | None:
    """A leak larger than rounding that more changes show in float64, on the path of the other dtype if there is one."""
    exact = subject.float64_reference
    if exact is None:
        return None
    for draw in range(MORE):
        with exact.preserve_state():
            comparison = Comparison(exact, exact.base())
            plan = changes.sweep(exact, generator(exact.settings.seed, "dtype", draw))
            for judged in comparison.confirmed(plan, comparison.measure(plan)):
                if judged.leaks and judged.violation.effect > most:
                    return _leak(judged.violation, exact, way)
    return None


def _leak(violation: Violation, subject: Subject, way: _Way) -> Report:
    violation = replace(violation, seen_in=subject)
    return Report(Verdict.LEAK, f"in {way}, {violation.described(subject)}", (violation,))


PROBE = Probe(
    "dtype",
    "the same in the model's own dtype, in bfloat16, float16 and by autocast",
    order=7,
    run=run,
    forwards=lambda subject: 2 * (batches(subject, changes.count(subject)) + 5 + len(FURTHER)),
    blind_to="effects that are the same in every dtype but smaller than the rounding of float32, state, other rows, "
    "lengths and training. It draws fewer changes than the perturbation probe and evolves none.",
)
