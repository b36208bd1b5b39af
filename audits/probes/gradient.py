"""Gradient: differentiate every output position and look for derivatives with respect to later inputs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from audits.embedding import EmbeddingTap
from audits.precision import weigh
from audits.probe import Pair, Probe, Report, Sighting, batches, not_applicable, undetermined
from audits.randomness import generator
from audits.subject import Settings, Subject
from audits.verdicts import Site, Verdict


@dataclass(frozen=True)
class Derivatives:
    """`size[r, s]`: largest derivative of a random projection of output sinks[r] with respect to input position s."""

    size: Tensor
    sinks: Tensor


def run(subject: Subject) -> Report:
    """A vector-Jacobian product at every cut. Blind to discrete choices and detached paths, by its nature.

    Positive control: some derivative with respect to an own or earlier position must not be zero.
    """
    base = subject.base()
    if not subject.run(base).isfinite().all():
        return undetermined("the outputs hold NaN or infinite numbers")
    try:
        derivatives = _all(subject, base)
    except RuntimeError as problem:
        return not_applicable(f"the model cannot be differentiated ({str(problem).splitlines()[0][:120]})")
    if derivatives is None:
        return not_applicable("no differentiable path from the input to the output")
    position = torch.arange(base.shape[1])
    future = derivatives.size.where(position > derivatives.sinks[:, None], 0.0)
    if derivatives.size.isnan().any():
        return undetermined("derivatives are NaN")
    if not derivatives.size.any():
        return undetermined("positive control failed: every derivative is zero")
    row = int(future.amax(1).argmax())
    sink = int(derivatives.sinks[row])
    effect = _alone(subject, base, sink)
    weighed = weigh(
        subject,
        effect,
        lambda other: _alone(other, base, sink),
        same_shape=True,
        scale=float(derivatives.size.max()),
        repeat=0.0,
    )
    if weighed.verdict is Verdict.UNDETERMINED:
        return undetermined(f"a future derivative of {effect:.1e} cannot be told from rounding in this precision")
    if weighed.verdict is Verdict.PASS:
        return Report(
            Verdict.PASS, f"no output has a derivative with respect to any of its {base.shape[1] - 1} later inputs"
        )
    source = int(future[row].argmax())
    why = f"output {sink} has derivative {effect:.3g} with respect to input {source}"
    pair = Pair(base, _nudged(subject, base, source), source)
    sighting = Sighting(Site(source, 0), Site(sink, 0), effect, weighed.noise_floor, pair)
    return Report(Verdict.LEAK, why, (sighting,))


def _all(subject: Subject, base: Tensor) -> Derivatives | None:
    length = base.shape[1]
    found = []
    for sinks in torch.arange(length).split(subject.rows()):
        sizes = _products(subject, base.expand(len(sinks), *base.shape[1:]).contiguous(), sinks)
        if sizes is None:
            return None
        found.append(sizes)
    return Derivatives(torch.cat(found), torch.arange(length))


def _alone(subject: Subject, base: Tensor, sink: int) -> float:
    """Largest derivative of one output with respect to later inputs, in a batch of one row."""
    sizes = _products(subject, base, torch.tensor([sink]))
    return 0.0 if sizes is None else float(sizes[0, sink + 1 :].max()) if sink + 1 < base.shape[1] else 0.0


def _products(subject: Subject, inputs: Tensor, sinks: Tensor) -> Tensor | None:
    """Row r: derivatives of a random projection of outputs[r, sinks[r]], largest over features, [R, N] float64."""
    leaves: list[Tensor] = []

    def leaf(rows: Tensor) -> Tensor:
        leaves.append(rows.detach().requires_grad_())
        return leaves[-1]

    if subject.settings.input == "features":
        inputs = leaf(inputs.to(subject.settings.device, subject.dtype or torch.float32))
        outputs = subject.run(inputs, grad=True)
    else:
        with EmbeddingTap(inputs, leaf):
            outputs = subject.run(inputs, grad=True)
    if not leaves or not outputs.requires_grad:
        return None
    picked = outputs[torch.arange(len(sinks)), sinks]
    weights = torch.randn(
        picked.shape[1], generator=generator(subject.settings.seed, "projection"), dtype=torch.float64
    )
    picked = picked * weights.to(picked)
    with subject.pace.budget.guarded():
        grads = torch.autograd.grad(picked.sum(), leaves, allow_unused=True)
    sizes = [g.detach().double().abs().amax(-1).cpu() for g in grads if g is not None]
    return torch.stack(sizes).amax(0) if sizes else torch.zeros(inputs.shape[:2], dtype=torch.float64)


def _nudged(subject: Subject, base: Tensor, source: int) -> Tensor:
    """The base with another token, or moved features, at the source."""
    changed = base.clone()
    if subject.settings.input == "features":
        changed[:, source] += 1.0
    else:
        changed[:, source] = (changed[:, source] + 1) % (subject.settings.vocab_size or 2)
    return changed


def _forwards(settings: Settings) -> int:
    return batches(settings, settings.seq_len) + 3


PROBE = Probe("gradient", "derivatives of outputs with respect to later inputs", order=1, run=run, forwards=_forwards)
