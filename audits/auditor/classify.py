"""From the pattern of verdicts to the leak class: what only one probe can see says how the future gets in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from audits.instruments.derivatives import all_derivatives
from audits.instruments.differences import scale_of
from audits.instruments.locate import Place, find_place
from audits.instruments.noise_floor import gap, rounding
from audits.instruments.probe import Pair, Report, Sighting
from audits.results import LeakClass, Verdict
from audits.subject.embedding import EmbeddingTap
from audits.subject.subject import Subject

ALONE = {
    "prefix-length": LeakClass.LENGTH,
    "decode": LeakClass.DECODE,
    "isolation": LeakClass.BATCH,
    "repeat-call": LeakClass.STATE,
    "training-mode": LeakClass.TRAINING_MODE,
    "documents": LeakClass.DOCUMENT,
}
FAINT = 1e-6  # of the output: below, a nudge of the square root of eps moves nothing that can be seen
NORMALISERS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm, nn.LocalResponseNorm)


def classify(
    subject: Subject, probe: str, sighting: Sighting, reports: Mapping[str, Report], place: Place | None
) -> LeakClass:
    """The class of one sighting.

    What a perturbation in evaluation mode shows has a nature of its own (dense, selection, statistic); what only
    another probe shows is named after that probe. Prefix, decode and training-mode effects of a model that already
    leaks under perturbation are the same leak seen again and share its class, as does what another dtype shows; so does
    streaming a model whose prefixes depend on the length. So it is with documents: a later one felt by an earlier one
    is the future, a document that differs from itself alone in a model whose prefixes depend on the length is a matter
    of length.
    """
    if probe in ("isolation", "repeat-call") or (probe == "documents" and not _also_without(sighting, reports)):
        return ALONE[probe]
    if probe == "documents" and sighting.pair is None:
        return LeakClass.LENGTH
    if probe not in ALONE and sighting.pair is not None and sighting.pair.training:
        return LeakClass.TRAINING_MODE
    seen = _shown(reports)
    if probe == "decode" and seen is None and _sightings(reports, "prefix-length"):
        return LeakClass.LENGTH
    if probe in ALONE and seen is None:
        return ALONE[probe]
    if seen is not None and (probe in ALONE or probe in ("provenance", "dtype")):
        return classify(subject, "perturbation", seen, reports, find_place(subject, seen))
    if place is not None and _normalises(subject, place):
        return LeakClass.STATISTIC
    if probe == "gradient" or _smooth(subject, sighting, reports):
        return LeakClass.DENSE
    return LeakClass.UNKNOWN if sighting.pair is None else _nature(subject, sighting.pair, sighting.effect)


def _also_without(sighting: Sighting, reports: Mapping[str, Report]) -> bool:
    """Whether what documents feel is a leak that the model has without any documents."""
    if sighting.pair is None:
        return bool(_sightings(reports, "prefix-length"))
    return _shown(reports) is not None and sighting.pair.cut >= sighting.pair.still[1]


def _shown(reports: Mapping[str, Report]) -> Sighting | None:
    """What a pair of inputs shows in evaluation mode: to perturbation, or to tracing where that was left out."""
    seen = _sightings(reports, "perturbation" if "perturbation" in reports else "provenance")
    return next((s for s in seen if s.pair is not None and not s.pair.training), None)


def _smooth(subject: Subject, sighting: Sighting, reports: Mapping[str, Report]) -> bool:
    """Whether some output has a derivative with respect to a later input; found out here where no probe did."""
    if "gradient" in reports and sighting.seen_in is None:
        return bool(_sightings(reports, "gradient"))
    subject = subject.finer or subject
    try:
        found = all_derivatives(subject, subject.base()) if sighting.pair else None
    except RuntimeError:  # it cannot be differentiated
        return False
    return found is not None and float(found.future.max()) > rounding(subject, float(found.size.max()))


def _sightings(reports: Mapping[str, Report], probe: str) -> tuple[Sighting, ...]:
    report = reports.get(probe)
    return report.sightings if report and report.verdict is Verdict.LEAK else ()


def _normalises(subject: Subject, place: Place) -> bool:
    modules = dict(subject.module.named_modules()) if subject.module is not None else {}
    return isinstance(modules.get(place.module), NORMALISERS)


def _nature(subject: Subject, pair: Pair, effect: float) -> LeakClass:
    """What no derivative sees: a statistic if the past follows a small nudge smoothly all the same, else a choice.

    An effect so faint that its answer to a nudge would drown in rounding is of unknown nature.
    """
    subject = subject.finer or subject  # where steps may be small enough to be told from rounding
    finest = torch.finfo(subject.internal or torch.float32).eps
    whole, half = (_nudged(subject, pair, size * finest**0.5) for size in (1.0, 0.5))
    if whole is None or half is None:
        return LeakClass.UNKNOWN
    # A flipped ranking jumps; only a smooth path halves when the nudge is halved.
    smooth = whole.past > 1e-6 * whole.future and 0.25 < half.past / whole.past < 0.75
    if not smooth and effect < FAINT * scale_of(subject.run(pair.base, training=pair.training)):
        return LeakClass.UNKNOWN
    return LeakClass.STATISTIC if smooth else LeakClass.SELECTION


@dataclass(frozen=True)
class Response:
    """How far outputs before and after the cut moved."""

    past: float
    future: float


def _nudged(subject: Subject, pair: Pair, size: float) -> Response | None:
    """The response to a small relative change of the embedded (or fed) features from the cut on; None if untestable."""

    def nudge(rows: Tensor) -> Tensor:
        moved = rows.clone()
        direction = torch.linspace(0.5, 1.5, rows.shape[-1], dtype=rows.dtype, device=rows.device)
        moved[:, pair.cut :] += size * rows.detach().abs().mean() * direction
        return moved

    before = subject.run(pair.base, training=pair.training)
    if subject.settings.input == "features":
        after = subject.run(nudge(pair.base), training=pair.training)
    else:
        with EmbeddingTap(pair.base, nudge) as tap:
            after = subject.run(pair.base, training=pair.training)
        if not tap.taken:
            return None
    gaps = gap(before, after)[0]
    return Response(float(gaps[: pair.cut].max()), float(gaps[pair.cut :].max()))
