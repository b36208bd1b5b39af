"""Training mode: the same perturbations with the model in training mode, gradients recorded, generators pinned."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from audits.instruments import changes
from audits.instruments.differences import Comparison
from audits.instruments.noise_floor import comparable
from audits.instruments.probe import Probe, Report, batches, failed_control, not_applicable, undetermined
from audits.instruments.sampling import in_words
from audits.results import Verdict
from audits.subject.dropout import WithoutDropout, draws
from audits.subject.randomness import generator
from audits.subject.subject import Subject


def run(subject: Subject) -> Report:
    """Every cut and every position, with equal dropout masks by pinning; statistics are restored between calls.

    Where a leak shows but the two runs drew differently, their masks were not equal: all once more without dropout.
    Positive control: outputs from the cut on must react.
    """
    if subject.module is None:
        return not_applicable("a plain callable has no training mode")
    try:
        comparison = _comparison(subject)
    except Exception as problem:
        return not_applicable(f"the model cannot be called in training mode ({type(problem).__name__})")
    report = _perturbed(comparison)
    if report.verdict is not Verdict.LEAK or _draw_alike(comparison.subject, report):
        return report
    with WithoutDropout():
        again = _perturbed(_comparison(subject))
        if again.verdict is Verdict.LEAK and not _draw_alike(comparison.subject, again):
            return undetermined(
                f"what it draws at random depends on the input, so runs cannot be compared: {again.why}"
            )
    return replace(again, why=f"{again.why} (without dropout, since what it draws depends on the input)")


def _draw_alike(subject: Subject, report: Report) -> bool:
    """Whether both inputs of a leak draw the same shapes in the same order, and so the same numbers."""
    pair = report.violations[0].pair
    assert pair is not None
    one, two = (draws(partial(subject.run, inputs, training=True)) for inputs in (pair.base, pair.changed))
    return one == two


def _perturbed(comparison: Comparison) -> Report:
    if not comparable(comparison.base_outputs):
        return undetermined("the outputs in training mode hold NaN or infinite numbers")
    if comparison.noise:
        return undetermined("two calls with equal random generators differ: randomness outside torch, numpy and Python")
    gen = generator(comparison.subject.settings.seed, "training-mode")
    plan = changes.everywhere(comparison.subject, comparison.base, gen, training=True)
    effects = comparison.measure(plan)
    if not float(effects.future.max()):
        return failed_control("no change of the input changed any output")
    sampled = in_words(comparison.subject, comparison.base.shape[1] - 1, "cuts", training=True)
    why = f"{len(plan.cuts)} changed sequences in training mode{sampled}: no output before the change differed"
    judged = comparison.leak_or_doubt(plan, effects)
    if judged is None:
        return Report(Verdict.PASS, why)
    doubt = "in training mode outputs before the change differed, perhaps by rounding alone"
    return judged.report(f"in training mode, {judged.violation.described(comparison.subject)}", why, doubt)


def _comparison(subject: Subject) -> Comparison:
    """Of the subject, or of its float32 copy where only that can be called in training mode."""
    try:
        return Comparison(subject, subject.base(), training=True)
    except Exception:
        if subject.float32_copy is None:
            raise
        return Comparison(subject.float32_copy, subject.base(), training=True)


PROBE = Probe(
    "training-mode",
    "the same in training mode with gradients, generators pinned",
    order=5,
    run=run,
    forwards=lambda subject: batches(subject, changes.count(subject, training=True)) + 5,
    blind_to="length, state, other rows and decoding; and choices so rare that random changes do not flip them, as it "
    "evolves no inputs.",
)
