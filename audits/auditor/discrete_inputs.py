"""The class of a leak through an argument without derivatives (flags, ids) beside others, under a contract.

The argument is followed to where it becomes numbers: fed as floats where the model computes with it, or at the rows
that are looked up by it. A derivative from there makes the leak dense. Without one, it is a statistic if the output
responds smoothly to the floats, and a selection if it jumps or stays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from audits.instruments.differences import response
from audits.instruments.noise_floor import rounding
from audits.instruments.probe import Pair, Violation
from audits.results import LeakClass
from audits.subject.contracted import contracted
from audits.subject.embedding import LOOK_UPS
from audits.subject.randomness import generator
from audits.subject.subject import Subject

SIZES = (1e-3, 5e-4)  # of small changes: what responds smoothly responds half as much to half the change
Change = Callable[[Tensor], Tensor]
Watch = Callable[[Tensor, Change], tuple[Tensor, list[Tensor]]]  # (inputs, change) -> (outputs, what was changed)


def class_through_argument(subject: Subject, violation: Violation) -> LeakClass:
    """Dense, selection, statistic or unknown, from the first discrete argument that shows the leak alone."""
    assert violation.pair is not None
    assert violation.sink.position is not None
    for argument in subject.plan.varied:
        changed = subject.plan.only(argument.name, violation.pair.base, violation.pair.changed)
        pair = replace(violation.pair, changed=changed)
        if argument.kind == "features" or float(response(subject, pair).max()) <= violation.noise_floor:
            continue
        sink, ways = violation.sink.position, (_as_floats(subject, argument.name), _looked_up(subject))
        if any(_derives(subject, pair, sink, way) for way in ways):
            return LeakClass.DENSE
        return _without_derivative(pair, sink, ways[0])
    return LeakClass.UNKNOWN


def _without_derivative(pair: Pair, sink: int, watch: Watch) -> LeakClass:
    """The class by how the output at the sink responds to small changes of the floats; unknown where none are taken."""
    try:
        _, (after,) = watch(pair.changed, lambda values: values)
        outputs, (before,) = watch(pair.base, lambda values: values)
        steps = [size * (before != after) for size in SIZES]
        whole, half = (watch(pair.base, partial(torch.add, step))[0] for step in steps)
    except Exception:
        return LeakClass.UNKNOWN
    most, less = (float((each - outputs)[pair.row, sink].abs().max()) for each in (whole, half))
    return LeakClass.STATISTIC if most and 0.25 < less / most < 0.75 else LeakClass.SELECTION


def _derives(subject: Subject, pair: Pair, sink: int, watch: Watch) -> bool:
    """Whether the output at the sink has a derivative by what differs of the things watched between the two inputs."""
    leaves: list[Tensor] = []

    def leaf(values: Tensor) -> Tensor:
        leaves.append(values.detach().requires_grad_())
        return leaves[-1]

    try:
        _, after = watch(pair.changed, lambda values: values)
        outputs, before = watch(pair.base, leaf)
        chosen = outputs[pair.row, sink]
        chosen = chosen * torch.randn(len(chosen), generator=generator(0, "projection"), dtype=torch.float64).to(chosen)
        found = torch.autograd.grad(chosen.sum(), leaves, allow_unused=True) if leaves else ()
    except Exception:  # a model that indexes or masks by the argument takes no floats, or has no derivative
        return False
    for gradient, one, two in zip(found, before, after, strict=True):
        if gradient is not None and one.shape == two.shape and bool((one != two).any()):
            sizes = gradient.double().abs()
            later = sizes[one != two]
            if float(later.max()) > rounding(subject, float(sizes.max())):
                return True
    return False


def _as_floats(subject: Subject, name: str) -> Watch:
    """Watches an argument, fed as floats."""

    def watch(inputs: Tensor, change: Change) -> tuple[Tensor, list[Tensor]]:
        seen: list[Tensor] = []

        def changed(given: str, values: Tensor) -> Tensor:
            if given != name:
                return values
            seen.append(values.to(subject.dtype or torch.float32))
            return change(seen[-1])

        model = contracted(subject.model.model, replace(subject.plan, change=changed))
        return subject.variant(model=model).run(inputs, grad=True), seen

    return watch


class _LookUps(TorchFunctionMode):
    """While active, changes the rows of every look-up, and keeps its ids."""

    def __init__(self, change: Change) -> None:
        super().__init__()
        self.change, self.ids = change, list[Tensor]()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        output = output.to(torch.get_default_dtype()) if func is F.one_hot else output
        given = (t for t in (*args, *(kwargs or {}).values()) if isinstance(t, Tensor) and not t.is_floating_point())
        ids = next(given, None) if func in (*LOOK_UPS, F.one_hot) else None
        if ids is None or not output.is_floating_point() or output.shape[: ids.ndim] != ids.shape:
            return output
        self.ids.append(ids)
        return self.change(output)


def _looked_up(subject: Subject) -> Watch:
    """Watches the rows of all look-ups."""

    def watch(inputs: Tensor, change: Change) -> tuple[Tensor, list[Tensor]]:
        with _LookUps(change) as look_ups:
            return subject.run(inputs, grad=True), look_ups.ids

    return watch
