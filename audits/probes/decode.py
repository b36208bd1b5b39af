"""Decode: where the model can stream, token by token must equal all at once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from audits.precision import gap, weigh
from audits.probe import Probe, Report, Sighting, not_applicable, undetermined
from audits.subject import Subject, SubjectError, as_sequence
from audits.verdicts import Site, Verdict

Step = Callable[[Any, Tensor, Any], tuple[Any, Any]]  # (model, piece, state) -> (output, state)
STATES = ("past_key_values", "cache_params", "state")  # what Hugging Face calls it: attention, Mamba and xLSTM, RWKV


def run(subject: Subject) -> Report:
    """Prefill and decode in several piece sizes against one parallel pass.

    Streams through a method `stream(piece, state=None) -> (outputs, state)`, or through Hugging Face's
    `past_key_values`, `cache_params` or `state`. Positive control: the streamed outputs of another input must differ.
    """
    step = _streaming(subject.model)
    if step is None:
        return not_applicable(f"the model offers no stream(piece, state) and none of {', '.join(STATES)}")
    base = subject.base()
    whole = subject.run(base)
    gaps, refused = {}, None
    for name, sizes in _plans(base.shape[1]).items():
        try:
            gaps[name] = gap(_stream(subject, step, base, sizes), whole)[0].cpu()
        except Exception as problem:
            refused = f"{type(problem).__name__}: {str(problem).splitlines()[0] if str(problem) else ''}"
    if not gaps:
        return not_applicable(f"streaming raised {refused}")
    other = subject.base(2)[1:]
    if not float(gap(_stream(subject, step, other, _plans(base.shape[1])[next(iter(gaps))]), whole).max()):
        return undetermined("positive control failed: another input streams to the same output")
    return _judge(subject, step, base, whole, gaps)


def _judge(subject: Subject, step: Step, base: Tensor, whole: Tensor, gaps: dict[str, Tensor]) -> Report:
    name = max(gaps, key=lambda key: float(gaps[key].max()))
    effect = float(gaps[name].max())
    sizes = _plans(base.shape[1])[name]

    def again(other: Subject) -> float:
        return float(gap(_stream(other, step, base, sizes), other.run(base)).max())

    weighed = weigh(subject, effect, again, same_shape=False, scale=float(whole.abs().max()))
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
        state, parts = None, []
        for piece in given.split(sizes, dim=1):
            output, state = step(model, piece, state)
            parts.append(as_sequence(output, piece))
        return torch.cat(parts, dim=1)

    return subject.call(whole, inputs)


def _streaming(model: Any) -> Step | None:
    if callable(getattr(model, "stream", None)):
        return lambda model, piece, state: model.stream(piece, state)
    forward = getattr(model, "forward", None)
    parameters = inspect.signature(forward).parameters if forward else {}
    state = next((name for name in STATES if {name, "use_cache"} <= set(parameters)), None)
    return partial(_hugging_face, state, "cache_position" in parameters) if state else None


def _hugging_face(name: str, counts: bool, model: Any, piece: Tensor, state: Any) -> tuple[Any, Any]:
    """One piece through a cache; the state is the cache and how many tokens it has seen."""
    cache, seen = state or (None, 0)
    given = {name: cache, "use_cache": True}
    if counts and cache is not None and name == "cache_params":
        # Releases 4.43 to 4.57: the cache holds no length, and their generate() counts from the convolution's width on.
        first = max(seen, getattr(model.config, "conv_kernel", 0))
        given["cache_position"] = torch.arange(first, first + piece.shape[1], device=piece.device)
    output = model(piece, **given)
    if getattr(output, name, None) is None:
        raise SubjectError(f"the model returned no {name}")
    return output, (getattr(output, name), seen + piece.shape[1])


PROBE = Probe("decode", "streaming against one parallel pass", order=6, run=run)
