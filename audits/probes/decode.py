"""Decode: where the model can stream, token by token must equal all at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from audits.formatting import error_text
from audits.instruments.noise_floor import gap, noise_of, weigh
from audits.instruments.probe import Probe, Report, Sighting, not_applicable, unmoved
from audits.results import Site, Verdict
from audits.subject.outputs import as_sequence
from audits.subject.streaming import CACHES, Step, streaming
from audits.subject.subject import Subject


def run(subject: Subject) -> Report:
    """Prefill and decode in several piece sizes against one parallel pass.

    Streams through a method `stream(piece, state=None) -> (outputs, state)`, or through the `past_key_values`,
    `cache_params` or `state` of Hugging Face and fla. Positive control: the streamed outputs of another input must
    differ.
    """
    step = streaming(subject)
    if step is None:
        return not_applicable(f"the model offers no stream(piece, state) and none of {', '.join(CACHES)}")
    base = subject.base()
    whole = subject.run(base)
    gaps, refused = {}, {}
    for name, sizes in _plans(base.shape[1]).items():
        try:
            gaps[name] = gap(_stream(subject, step, base, sizes), whole)[0].cpu()
        except Exception as problem:
            refused[name] = error_text(problem)
    if not gaps:
        return not_applicable(f"streaming raised {next(iter(refused.values()))}")
    other = subject.base(2)[1:]
    if not float(gap(_stream(subject, step, other, _plans(base.shape[1])[next(iter(gaps))]), whole).max()):
        return unmoved("another input streams to the same output")
    report = _judge(subject, step, base, whole, gaps)
    left_out = f"; decoding {', '.join(refused)} raised {next(iter(refused.values()))}" if refused else ""
    return replace(report, why=f"{report.why}{left_out}")


def _judge(subject: Subject, step: Step, base: Tensor, whole: Tensor, gaps: dict[str, Tensor]) -> Report:
    name = max(gaps, key=lambda key: float(gaps[key].max()))
    effect = float(gaps[name].max())
    sizes = _plans(base.shape[1])[name]

    def again(other: Subject) -> float:
        return float(gap(_stream(other, step, base, sizes), other.run(base)).max())

    # Measured around the streams again: what drifts with time is no matter of streaming.
    repeat = max(noise_of(subject), 4 * float(gap(whole, subject.run(base)).max()))
    weighed = weigh(subject, effect, again, same_shape=False, scale=float(whole.abs().max()), repeat=repeat)
    if weighed.verdict is Verdict.LEAK:
        sink = int(gaps[name].argmax())
        sighting = Sighting(Site(), Site(sink, 0), effect, weighed.noise_floor)
        return Report(
            Verdict.LEAK, f"decoding {name} differs at position {sink} by {effect:.3g} from one pass", (sighting,)
        )
    return Report(weighed.verdict, f"decoding {', '.join(gaps)} equals one pass (floor {weighed.noise_floor:.1e})")


def _plans(length: int) -> dict[str, list[int]]:
    """Piece sizes that add up to the length."""
    half = max(1, length // 2)
    uneven = [1, 2, 3, 5, 7, 11, 13] * length
    taken: list[int] = []
    left = length
    while left:
        taken.append(min(uneven[len(taken)], left))
        left -= taken[-1]
    return {
        "token by token": [1] * length,
        "after a prefill of half": [half, *[1] * (length - half)],
        "in uneven pieces": taken,
    }


def _stream(subject: Subject, step: Step, inputs: Tensor, sizes: list[int]) -> Tensor:
    """Outputs of all pieces together, [B, N, F]."""

    def whole(model: Any, given: Tensor) -> Tensor:
        state, parts, past = None, [], 0
        for piece in given.split(sizes, dim=1):
            output, state = step(model, piece, state, past)
            # Copies: a model may return, or keep, a buffer that its next call writes over.
            parts.append(as_sequence(output, piece).clone())
            past += piece.shape[1]
        return torch.cat(parts, dim=1)

    return subject.call(whole, inputs)


PROBE = Probe(
    "decode",
    "streaming against one parallel pass",
    order=6,
    run=run,
    blind_to="what one parallel pass does by itself: a model that streams as it runs in parallel passes, however it "
    "leaks. It has nothing to look at in a model that cannot stream.",
)
