"""Where a flow that changes nothing ends: in terms that cancel, or in an operation that did not respond.

Later tokens are changed several times. An element of an earlier position whose inputs moved, and which never did, is
where the flow ends. Sums, products and transforms of what moved cancel. Anything else (a comparison, a saturated
softmax, a dead unit) only did not respond to these changes, and may respond to others.
"""

from __future__ import annotations

import torch
from torch import Tensor

from audits.instruments.differences import Changes
from audits.instruments.noise_floor import max_abs_diff, rounding, scale_of
from audits.instruments.source_lines import Frame
from audits.instruments.tracing.attribution import SOURCE, restored_labels
from audits.instruments.tracing.call import Call, Rule
from audits.instruments.tracing.positions import numbered
from audits.instruments.tracing.record import Event, Recorder
from audits.instruments.tracing.rules import Plan
from audits.instruments.tracing.taint_map import storage_key, unflagged
from audits.instruments.tracing.trace import trace_outputs
from audits.subject.operations import tensors_in
from audits.subject.subject import Subject

EXTREMES = {"amax", "amin", "max", "min"}
MOVED = 1e-6  # of the largest element of a tensor: a larger difference is no rounding; our choice
STILL = 1e-12  # of an element itself: a smaller difference is; our choice
# Terms of these cancel, or a factor that later tokens do not move is zero, which other weights or tokens change.
COMBINING = {
    *("add", "sub", "rsub", "mul", "div", "sum", "mean", "cumsum", "mm", "bmm", "addmm", "baddbmm", "convolution"),
    *("_fft_r2c", "_fft_c2c", "_fft_c2r", "where", "masked_fill", "index_add", "scatter_add", "native_layer_norm"),
}


def blocking(subject: Subject, pairs: Changes) -> tuple[str, Frame | None] | None:
    """The operation, and its line, that kept changes away from earlier positions without cancelling them.

    Args:
        subject: the model.
        pairs: a few changes with one cut and a base each.

    Returns:
        None where every flow cancels, or the passes differ in their operations.
    """
    assert pairs.bases is not None
    cut, length = int(pairs.cuts[0]), pairs.inputs.shape[1]
    sources = (torch.arange(length) >= cut).long().expand(1, length)
    recorded = [
        (Recorder.of(subject, base, sources), Recorder.of(subject, changed, sources))
        for base, changed in zip(pairs.bases.split(1), pairs.inputs.split(1), strict=True)
    ]
    first, names = recorded[0][0].events, recorded[0][0].names
    alike = [(one.events, two.events) for one, two in recorded if one.names == two.names == names]
    used = {storage_key(argument.origin) for event in first for argument in event.arguments}
    for number, event in enumerate(first):
        if event.layout or event.call.name in COMBINING or not {storage_key(t) for t in event.targets} & used:
            continue
        for target, out in enumerate(tensors_in(event.call.out)):
            earlier = _earlier(event.positions[target], out.shape, length, cut)
            fed, still = torch.zeros_like(earlier), earlier
            for one, two in ((events[number], others[number]) for events, others in alike):
                results = (tensors_in(each.call.out)[target] for each in (one, two))
                if one.targets[target].shape == out.shape:
                    fed, still = fed | _fed(one, two, target), still & _equal(*results)
            # Of extremes some must respond: where another element is the largest, a change does not show.
            needed = fed & earlier if event.call.name in EXTREMES else fed & still
            if not bool(needed.any()) or not bool((still | ~needed).all()):
                continue
            altering = _Altering(subject, number, target, needed)
            if altering.changes_outputs(pairs.bases[:1], sources, cut):
                return event.call.name, next(iter(event.frames), None)
    return None


class _Altering(Recorder):
    """Alters some elements of what one event writes, to see whether they matter to earlier outputs at all."""

    def __init__(self, subject: Subject, number: int, target: int, elements: Tensor) -> None:
        super().__init__(subject.module)
        self.subject, self.number, self.target, self.elements = subject, number, target, elements

    def changes_outputs(self, inputs: Tensor, sources: Tensor, cut: int) -> bool:
        """Whether outputs before the cut change; so they do if the model then raises."""
        usual = self.subject.run(inputs)
        try:
            altered, _ = trace_outputs(self.subject, self, inputs, sources, training=False)
        except Exception:
            return True
        return float(max_abs_diff(usual, altered)[:, :cut].max()) > rounding(self.subject, scale_of(usual))

    def _record(self, todo: Plan, used: Rule, call: Call, targets: list[Tensor]) -> None:
        if len(self.events) == self.number:
            value = targets[self.target]
            other = ~value if value.dtype == torch.bool else value + 1 + (value * 0.1).to(value.dtype)
            value.copy_(torch.where(self.elements, other, value))
        super()._record(todo, used, call, targets)


def _earlier(positions: Tensor | None, shape: torch.Size, length: int, cut: int) -> Tensor:
    """Which elements belong to positions before the cut; all, where that is unknown. Rows count in a square of both."""
    if len(shape) > 1 and shape[-1] == shape[-2] == length:
        return (torch.arange(length) < cut)[:, None].expand(shape)
    axes = [axis for axis, size in enumerate(shape) if size == length]
    if positions is None and len(axes) == 1:
        positions = numbered(shape, axes[0])
    return torch.ones(shape, dtype=torch.bool) if positions is None else positions <= cut  # unknown ones are 0


def _fed(event: Event, other: Event, target: int) -> Tensor:
    """Which elements of a target depend on elements that moved between two passes."""
    moved = {}
    for argument in event.arguments:
        one, two = argument.value(event), argument.value(other)
        if one.shape == two.shape:
            moved[argument] = (unflagged(argument.labels) == SOURCE) & _differs(one, two)
    found = restored_labels(event, target, moved) if any(bool(m.any()) for m in moved.values()) else None
    shape = event.targets[target].shape
    return torch.zeros(shape, dtype=torch.bool) if found is None else unflagged(found) == SOURCE


def _differs(one: Tensor, two: Tensor) -> Tensor:
    """Which elements differ clearly, of tensors of one shape."""
    if not one.is_floating_point() or not one.numel():
        return one != two
    largest = one.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0).abs().max()
    return (one != two) & ~((one - two).abs() <= MOVED * largest)


def _equal(one: Tensor, two: Tensor) -> Tensor:
    """Which elements are equal but for rounding; none where the shapes differ."""
    if one.shape != two.shape:
        return torch.zeros_like(one, dtype=torch.bool)
    return (one == two) | ((one - two).abs() <= STILL * one.abs()) if one.is_floating_point() else one == two
