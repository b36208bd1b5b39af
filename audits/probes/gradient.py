"""Gradient: differentiate every output position and look for derivatives with respect to later inputs."""

from __future__ import annotations

import torch
from torch import Tensor

from audits.formatting import first_line
from audits.instruments.changes import MAGNITUDES, replace_at
from audits.instruments.derivatives import all_derivatives, derivatives
from audits.instruments.noise_floor import BY_CHANCE, comparable, decide, max_abs_diff, rounding
from audits.instruments.probe import (
    Pair,
    Probe,
    Report,
    Violation,
    batches,
    failed_control,
    not_applicable,
    undetermined,
)
from audits.instruments.sampling import in_words, sample
from audits.results import Site, Verdict
from audits.subject.randomness import generator
from audits.subject.subject import Subject


def run(subject: Subject) -> Report:
    """A vector-Jacobian product at every cut. Blind to discrete choices and detached paths, by its nature.

    Positive control: some derivative with respect to an own or earlier position must not be zero.
    """
    base = subject.base()
    if not comparable(subject.run(base)):
        return undetermined("the outputs hold NaN or infinite numbers")
    try:
        found = all_derivatives(subject, base)
    except Exception as problem:
        return not_applicable(f"the model cannot be differentiated ({first_line(problem)})")
    if found is None:
        return not_applicable("no differentiable path from the input to the output")
    if found.isnan().any():
        return not_applicable("some derivatives are NaN, as where a slope is infinite")
    if not found.any():
        return failed_control("every derivative is zero")
    future, scale = found.triu(1), float(found.max())
    sink = int(future.amax(1).argmax())
    effect = _alone(subject, base, sink)
    decision = decide(subject, effect, lambda other: _alone(other, base, sink), same_shape=True, scale=scale, noise=0.0)
    if decision.verdict is Verdict.UNDETERMINED:
        return undetermined(f"a future derivative of {effect:.1e} cannot be distinguished from rounding here")
    explained = BY_CHANCE * max(decision.noise_floor, effect, rounding(subject, scale))
    if decision.verdict is Verdict.PASS and float(future.max()) > explained:
        return undetermined(f"a future derivative of {future.max():.1e} shows among other rows of a batch only")
    if decision.verdict is Verdict.PASS:
        sampled = in_words(subject, base.shape[1], "outputs")
        return Report(
            Verdict.PASS,
            f"no output{sampled} has a derivative with respect to any of its {base.shape[1] - 1} later inputs",
        )
    source = int(future[sink].argmax())
    at, by = subject.output_at(sink), subject.input_at(source)
    why = f"the output at {at} has derivative {effect:.3g} with respect to {by}"
    if not _moves(subject, base, source, sink):
        return Report(Verdict.PASS, f"{why}, but in the backward pass alone: no change of that moves the output")
    pair = Pair(base, _changed_at(subject, base, source), source)
    violation = Violation(Site(source, 0), Site(sink, 0), effect, decision.noise_floor, pair)
    return Report(Verdict.LEAK, why, (violation,))


def _alone(subject: Subject, base: Tensor, sink: int) -> float:
    """Largest derivative of one output with respect to later inputs, in a batch of one row."""
    sizes = derivatives(subject, base, torch.tensor([sink]))
    return 0.0 if sizes is None else float(sizes[0, sink + 1 :].max()) if sink + 1 < base.shape[1] else 0.0


def _moves(subject: Subject, base: Tensor, source: int, sink: int) -> bool:
    """Whether an output moves when what is embedded or fed at a position moves, by much or little, either way.

    What a backward pass passes on by a rule of its own (a hook, a straight-through estimator) is in no output.
    """
    before, gen = subject.run(base), generator(subject.settings.seed, "moves")
    for size in (sign * magnitude for magnitude in MAGNITUDES for sign in (1, -1)):

        def moved(rows: Tensor, size: float = size) -> Tensor:
            other = rows.detach().clone()
            step = torch.randn(other[:, source].shape, generator=gen, dtype=torch.float64).to(other)
            other[:, source] += size * step * other.square().mean().sqrt().clamp(min=1e-6)
            return other

        if subject.settings.input == "features":
            after = subject.run(moved(base))
        else:
            with subject.tapped(base, moved):
                after = subject.run(base)
        if float(max_abs_diff(before, after)[0, sink]) > 0:
            return True
    return False


def _changed_at(subject: Subject, base: Tensor, source: int) -> Tensor:
    """The base with another token, or shifted features, at the source."""
    other = base + 1 if subject.settings.input == "features" else (base + 1) % (subject.settings.vocab_size or 2)
    return replace_at(base, other, torch.tensor([source])).inputs


PROBE = Probe(
    "gradient",
    "derivatives of outputs with respect to later inputs",
    order=1,
    run=run,
    forwards=lambda subject: batches(subject, len(sample(subject, torch.arange(subject.settings.seq_len)))) + 3,
    blind_to="whatever carries no derivative: hard choices (top-k, argmax, comparisons), detached statistics, "
    "integers, saturated weights; and, as it looks at one length, mode and row, dependence on those.",
)
