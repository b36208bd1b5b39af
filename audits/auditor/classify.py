"""The leak class, from which probes detect a leak and how the output responds to a small perturbation."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from audits.auditor.discrete_inputs import class_through_argument
from audits.instruments.derivatives import all_derivatives
from audits.instruments.locate import Location, find_location
from audits.instruments.noise_floor import max_abs_diff, rounding, scale_of
from audits.instruments.probe import Pair, Report, Violation
from audits.results import LeakClass
from audits.subject.subject import Subject

DETECTED_ALONE = {
    "prefix-length": LeakClass.LENGTH,
    "decode": LeakClass.DECODE,
    "isolation": LeakClass.BATCH,
    "repeat-call": LeakClass.STATE,
    "training-mode": LeakClass.TRAINING_MODE,
    "documents": LeakClass.DOCUMENT,
}
TOO_SMALL = 1e-6  # of the output: below, the response to a small perturbation is hidden by rounding
NORMALISERS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm, nn.LocalResponseNorm)


def classify(
    subject: Subject, probe: str, violation: Violation, reports: Mapping[str, Report], location: Location | None
) -> LeakClass:
    """The class of one violation.

    A leak that perturbation in evaluation mode detects is dense, selection or statistic; what only another probe
    detects is named after that probe. In a model that leaks under perturbation, effects found by prefix-length, decode
    or training-mode are the same leak and share its class, as does what another dtype shows; so does streaming of a
    model whose prefixes depend on the length. With documents, an effect on an earlier one from a later one is a leak of
    the future, and a document that differs from itself alone in a model whose prefixes depend on the length has class
    length.
    """
    if violation.source.row != violation.sink.row and violation.source.row is not None:
        return LeakClass.BATCH
    if probe in ("isolation", "repeat-call") or (
        probe == "documents" and not _occurs_without_documents(violation, reports)
    ):
        return DETECTED_ALONE[probe]
    if probe in ("documents", "padding") and violation.pair is None:
        return LeakClass.LENGTH
    if probe == "padding" and violation.pair is not None and violation.pair.compared is not None:
        return LeakClass.DOCUMENT
    if probe not in DETECTED_ALONE and violation.pair is not None and violation.pair.training:
        return LeakClass.TRAINING_MODE
    perturbed = _under_perturbation(reports)
    if probe == "decode" and perturbed is None and violations_of(reports, "prefix-length"):
        return LeakClass.LENGTH
    if probe in DETECTED_ALONE and perturbed is None:
        return DETECTED_ALONE[probe]
    if perturbed is not None and (probe in DETECTED_ALONE or probe in ("provenance", "dtype", "padding")):
        return classify(subject, "perturbation", perturbed, reports, find_location(subject, perturbed))
    if location is not None and isinstance(subject.parts.get(location.module), NORMALISERS):
        return LeakClass.STATISTIC
    if probe == "gradient" or _differentiable(subject, violation, reports):
        return LeakClass.DENSE
    if violation.pair is None:
        return LeakClass.UNKNOWN
    if subject.plan is not None and subject.plan.is_discrete:
        return class_through_argument(subject, violation)
    found = _without_gradient(subject, violation.pair, violation.effect)
    # Of a model that refuses derivatives, a smooth response says only that there is no choice.
    refused = "gradient" in reports and not reports["gradient"].applicable
    return LeakClass.DENSE if refused and found is LeakClass.STATISTIC else found


def _occurs_without_documents(violation: Violation, reports: Mapping[str, Report]) -> bool:
    """Whether an effect between documents is a leak that the model has without any documents."""
    if violation.pair is None:
        return bool(violations_of(reports, "prefix-length"))
    return _under_perturbation(reports) is not None and violation.pair.cut >= violation.pair.must_agree[1]


def _under_perturbation(reports: Mapping[str, Report]) -> Violation | None:
    """The violation that a pair of inputs shows in evaluation mode: by perturbation, or by tracing in its place."""
    found = violations_of(reports, "perturbation" if "perturbation" in reports else "provenance")
    within_rows = (v for v in found if v.source.row == v.sink.row)
    return next((v for v in within_rows if v.pair is not None and not v.pair.training), None)


def _differentiable(subject: Subject, violation: Violation, reports: Mapping[str, Report]) -> bool:
    """Whether some output has a derivative with respect to a later input; computed here where no probe did."""
    among_rows = violation.pair is not None and len(violation.pair.base) > 1  # the gradient probe judges a row alone
    if "gradient" in reports and violation.seen_in is None and not among_rows:
        return bool(violations_of(reports, "gradient"))
    subject = subject.float64_reference or subject
    try:
        found = all_derivatives(subject, subject.base()) if violation.pair else None
    except Exception:  # it cannot be differentiated
        return False
    return found is not None and float(found.triu(1).max()) > rounding(subject, float(found.max()))


def violations_of(reports: Mapping[str, Report], probe: str) -> tuple[Violation, ...]:
    """What a probe detected; none where it did not run."""
    return reports[probe].violations if probe in reports else ()


def _without_gradient(subject: Subject, pair: Pair, effect: float) -> LeakClass:
    """The class of a leak without a derivative: a statistic if the past responds smoothly, else a selection.

    Of an effect so small that its response to a small perturbation is hidden by rounding the class is unknown.
    """
    subject = subject.float64_reference or subject  # where perturbations may be smaller
    finest = torch.finfo(subject.compute_dtype or torch.float32).eps
    whole, half = (_small_perturbation(subject, pair, size * finest**0.5) for size in (1.0, 0.5))
    if whole is None or half is None:
        return LeakClass.UNKNOWN
    past, future = float(whole[: pair.cut].max()), float(whole[pair.cut :].max())
    # A flipped ranking jumps; only a smooth path halves when the perturbation is halved.
    smooth = past > 1e-6 * future and 0.25 < float(half[: pair.cut].max()) / past < 0.75
    if not smooth and effect < TOO_SMALL * scale_of(subject.run(pair.base, training=pair.training)):
        return LeakClass.UNKNOWN
    return LeakClass.STATISTIC if smooth else LeakClass.SELECTION


def _small_perturbation(subject: Subject, pair: Pair, size: float) -> Tensor | None:
    """How far each output [N] moves by a small relative change of the embedded (or fed) features from the cut on.

    None where that cannot be tried.
    """

    def perturb(rows: Tensor) -> Tensor:
        perturbed = rows.clone()
        direction = torch.linspace(0.5, 1.5, rows.shape[-1], dtype=rows.dtype, device=rows.device)
        perturbed[:, pair.cut :] += size * rows.detach().abs().mean() * direction
        return perturbed

    before = subject.run(pair.base, training=pair.training)
    if subject.settings.input == "features":
        after = subject.run(perturb(pair.base), training=pair.training)
    else:
        with subject.tapped(pair.base, perturb) as tap:
            after = subject.run(pair.base, training=pair.training)
        if not tap.taken:
            return None
    return max_abs_diff(before, after)[pair.row]
