"""Dtype: the audit runs in float64 where it can, but models branch on their dtype; so look on their own path too."""

from __future__ import annotations

from dataclasses import replace

import torch

from audits.instruments import changes
from audits.instruments.differences import Changes, Comparison
from audits.instruments.noise_floor import readable
from audits.instruments.probe import Probe, Report, Sighting, batches, not_applicable, undetermined, unmoved
from audits.results import Verdict
from audits.subject.prepare import float64_reference, with_dtype
from audits.subject.randomness import generator
from audits.subject.settings import Settings
from audits.subject.subject import Subject, own_dtype

COMMON = torch.bfloat16  # what models of any dtype are trained and served in


def run(subject: Subject) -> Report:
    """Every cut and every position in the dtype the model came in, then in bfloat16.

    What moves is run again on the same path in float64, where rounding vanishes and a leak stays. Positive control:
    outputs from the cut on must react.
    """
    if subject.settings.dtype is not None:
        return not_applicable(f"{subject.settings.dtype} was asked for, and only that is audited")
    if not subject.copied and subject.module is not None:
        return not_applicable("the model cannot be copied, so it was audited in its own dtype")
    own = own_dtype(subject.origin) or torch.float32  # features fed to a plain callable are usually float32
    reports = [_in(subject, dtype, own) for dtype in dict.fromkeys((own, COMMON))]
    judged = [report for report in reports if report.applicable]
    for verdict in (Verdict.LEAK, Verdict.UNDETERMINED):
        for report in judged:
            if report.verdict is verdict:
                return report
    if not judged:
        return not_applicable("; ".join(report.why.removeprefix("not applicable: ") for report in reports))
    return Report(Verdict.PASS, f"{', '.join(r.why for r in judged)}: outputs before the change stood still")


def _in(subject: Subject, dtype: torch.dtype, own: torch.dtype) -> Report:
    """What one dtype shows; nothing where the subject has been audited in it, or does not run in it."""
    if dtype == subject.dtype:
        return not_applicable(f"it was audited in {_name(dtype)}")
    other = with_dtype(subject, None if dtype == own and subject.module is not None else dtype)
    if other is None:
        return not_applicable(f"it does not run in {_name(dtype)}")
    report = _perturbed(other, dtype)
    subject.forwards += other.forwards
    # Nobody asked for this dtype: what it cannot decide counts as not looked at.
    return not_applicable(report.why) if dtype != own and report.verdict is Verdict.UNDETERMINED else report


def _perturbed(subject: Subject, dtype: torch.dtype) -> Report:
    with subject.borrowed():
        comparison = Comparison(subject, subject.base())
        if not readable(comparison.alone):
            return undetermined(f"the outputs in {_name(dtype)} hold NaN or infinite numbers")
        gen = generator(subject.settings.seed, "dtype")
        plan = Changes.join([make(subject, comparison.base, gen) for make in (changes.singles, changes.suffixes)])
        return _judge(comparison, plan, dtype)


def _judge(comparison: Comparison, plan: Changes, dtype: torch.dtype) -> Report:
    moved = comparison.measure(plan)
    if not float(moved.future.max()):
        return unmoved(f"no change of the input moved any output in {_name(dtype)}")
    if float(moved.past.max()) > comparison.repeat:
        comparison.subject.finer = float64_reference(comparison.subject)
    doubt: Report | None = None
    for row in comparison.strongest(moved):
        weighed, sighting = comparison.confirm(plan, row)
        if weighed.verdict is Verdict.LEAK:
            return _leak(comparison.subject, sighting, dtype)
        if weighed.verdict is Verdict.UNDETERMINED:
            doubt = undetermined(f"in {_name(dtype)} the past moved by {sighting.effect:.1e}, perhaps rounding")
    return doubt or Report(Verdict.PASS, f"{len(plan.cuts)} changed sequences in {_name(dtype)}")


def _leak(subject: Subject, sighting: Sighting, dtype: torch.dtype) -> Report:
    where = f"changing position {sighting.source.position} moves position {sighting.sink.position}"
    sighting = replace(sighting, seen_in=subject)
    return Report(Verdict.LEAK, f"in {_name(dtype)} {where} by {sighting.effect:.3g}", (sighting,))


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _forwards(settings: Settings) -> int:
    return 2 * (batches(settings, changes.how_many(settings)) + 4)


PROBE = Probe(
    "dtype",
    "the same in the model's own dtype and in bfloat16",
    order=7,
    run=run,
    forwards=_forwards,
    blind_to="all that is the same in every dtype but fainter than the rounding of float32, state, other rows, lengths "
    "and training. It draws fewer changes than the perturbation probe and breeds none.",
)
