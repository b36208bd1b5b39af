"""Derivatives of outputs with respect to the embedded (or fed) features of every input position."""

from __future__ import annotations

import torch
from torch import Tensor

from audits.instruments.sampling import sample
from audits.subject.randomness import generator
from audits.subject.subject import Subject


def all_derivatives(subject: Subject, base: Tensor) -> Tensor | None:
    """Largest derivative of a random projection of every output (rows) by every input position (columns), [N, N].

    For one input [1, N] or [1, N, D]; None where no differentiable path leads to the output. Where the trace is
    complete, only a few outputs are differentiated, and the other rows are 0.
    """
    found = torch.zeros(base.shape[1], base.shape[1], dtype=torch.float64)
    for sinks in sample(subject, torch.arange(base.shape[1])).split(subject.rows()):
        sizes = derivatives(subject, base.expand(len(sinks), *base.shape[1:]).contiguous(), sinks)
        if sizes is None:
            return None
        found[sinks] = sizes
    return found


def derivatives(subject: Subject, inputs: Tensor, sinks: Tensor) -> Tensor | None:
    """Row r: derivatives of a random projection of outputs[r, sinks[r]], largest over features, [R, N] float64.

    None where no differentiable path leads from the input to the output.
    """
    leaves: list[Tensor] = []

    def leaf(rows: Tensor) -> Tensor:
        leaves.append(rows.detach().requires_grad_())
        return leaves[-1]

    if subject.settings.input == "features":
        inputs = leaf(inputs.to(subject.settings.device, subject.dtype or torch.float32))
        outputs = subject.run(inputs, grad=True)
    else:
        with subject.tapped(inputs, leaf):
            outputs = subject.run(inputs, grad=True)
    if not leaves or not outputs.requires_grad:
        return None
    picked = outputs[torch.arange(len(sinks)), sinks]
    gen = generator(subject.settings.seed, "projection")
    picked = picked * torch.randn(picked.shape[1], generator=gen, dtype=torch.float64).to(picked)
    with subject.clock.budget.enforced():
        grads = torch.autograd.grad(picked.sum(), leaves, allow_unused=True)
    sizes = [g.detach().double().abs().amax(-1).cpu() for g in grads if g is not None]
    return torch.stack(sizes).amax(0) if sizes else torch.zeros(inputs.shape[:2], dtype=torch.float64)
