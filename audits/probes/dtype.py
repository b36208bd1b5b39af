"""Dtype: the audit runs in float64 where it can, but models branch on their dtype; so test their own path too."""

from __future__ import annotations

from dataclasses import replace

import torch

from audits.instruments import changes
from audits.instruments.differences import Changes, Comparison
from audits.instruments.noise_floor import comparable
from audits.instruments.probe import Probe, Report, batches, failed_control, not_applicable, undetermined
from audits.results import Verdict
from audits.subject.prepare import float64_reference, with_dtype
from audits.subject.randomness import generator
from audits.subject.settings import Settings
from audits.subject.subject import Subject, own_dtype

COMMON = torch.bfloat16  # models of any dtype are trained and served in it


def run(subject: Subject) -> Report:
    """Every cut and every position in the dtype the model came in, then in bfloat16.

    Pairs with an effect are run again on the same path in float64, where rounding vanishes and a leak stays. Positive
    control: outputs from the cut on must react.
    """
    if subject.settings.dtype is not None:
        return not_applicable(f"{subject.settings.dtype} was asked for, and only that is audited")
    if not subject.copied and subject.module is not None:
        return not_applicable("the model cannot be copied, so it was audited in its own dtype")
    own = own_dtype(subject.original) or torch.float32  # features fed to a plain callable are usually float32
    reports = [_in_dtype(subject, dtype, own) for dtype in dict.fromkeys((own, COMMON))]
    judged = [report for report in reports if report.applicable]
    for verdict in (Verdict.LEAK, Verdict.UNDETERMINED):
        for report in judged:
            if report.verdict is verdict:
                return report
    if not judged:
        return not_applicable("; ".join(report.why.removeprefix("not applicable: ") for report in reports))
    return Report(Verdict.PASS, f"{', '.join(r.why for r in judged)}: no output before the change differed")


def _in_dtype(subject: Subject, dtype: torch.dtype, own: torch.dtype) -> Report:
    """The report on one dtype; not applicable where the subject was audited in it, or does not run in it."""
    if dtype == subject.dtype:
        return not_applicable(f"it was audited in {_name(dtype)}")
    other = with_dtype(subject, None if dtype == own and subject.module is not None else dtype)
    if other is None:
        return not_applicable(f"it does not run in {_name(dtype)}")
    report = _perturbed(other, dtype)
    # This dtype was not asked for: what cannot be decided in it counts as not tested.
    return not_applicable(report.why) if dtype != own and report.verdict is Verdict.UNDETERMINED else report


def _perturbed(subject: Subject, dtype: torch.dtype) -> Report:
    with subject.preserve_state():
        comparison = Comparison(subject, subject.base())
        if not comparable(comparison.base_outputs):
            return undetermined(f"the outputs in {_name(dtype)} hold NaN or infinite numbers")
        gen = generator(subject.settings.seed, "dtype")
        plan = Changes.join([make(subject, comparison.base, gen) for make in (changes.singles, changes.suffixes)])
        return _judge(comparison, plan, dtype)


def _judge(comparison: Comparison, plan: Changes, dtype: torch.dtype) -> Report:
    subject, effects = comparison.subject, comparison.measure(plan)
    if not float(effects.future.max()):
        return failed_control(f"no change of the input changed any output in {_name(dtype)}")
    if float(effects.past.max()) > comparison.noise:
        subject.float64_reference = float64_reference(subject)
    doubt: Report | None = None
    for row in comparison.strongest(effects):
        decision, violation = comparison.confirm(plan, row)
        if decision.verdict is Verdict.LEAK:
            violation = replace(violation, seen_in=subject)
            return Report(Verdict.LEAK, f"in {_name(dtype)}, {violation.description}", (violation,))
        if decision.verdict is Verdict.UNDETERMINED:
            effect = f"outputs before the change differed by {violation.effect:.1e}"
            doubt = undetermined(f"in {_name(dtype)} {effect}, perhaps by rounding alone")
    return doubt or Report(Verdict.PASS, f"{len(plan.cuts)} changed sequences in {_name(dtype)}")


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _forwards(settings: Settings) -> int:
    return 2 * (batches(settings, changes.count_changes(settings)) + 4)


PROBE = Probe(
    "dtype",
    "the same in the model's own dtype and in bfloat16",
    order=7,
    run=run,
    forwards=_forwards,
    blind_to="effects that are the same in every dtype but smaller than the rounding of float32, state, other rows, "
    "lengths and training. It draws fewer changes than the perturbation probe and evolves none.",
)
