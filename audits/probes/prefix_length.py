"""Prefix length: the outputs of a prefix must not depend on whether the sequence goes on."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from audits.instruments.differences import judge_calls
from audits.instruments.noise_floor import (
    BY_CHANCE,
    comparable,
    draws_randomly,
    max_abs_diff,
    noise_of,
    rounding,
    rows_draw_apart,
    scale_of,
)
from audits.instruments.probe import Probe, Report, failed_control, not_applicable, undetermined
from audits.instruments.sampling import sample
from audits.results import Site, Verdict
from audits.subject.subject import Subject

SUCCESSIVE = 64  # lengths, for chunks of up to so many positions; our choice
SAMPLED = 8  # lengths, in addition to the worst, that are run in another precision; our choice


def run(subject: Subject) -> Report:
    """f(x[:t]) against f(x)[:t] at every t that the model takes; the reason names those that it does not.

    Where the trace is complete, at some lengths: a few evenly spread, and, as a trace says nothing of the branches that
    another length takes, where rows are cheap so many in succession that a chunk or window ends at every place, and
    those around the powers of two.

    Positive control: some output must differ from the first, so that a constant does not pass.
    """
    base = subject.base(rows=1 if subject.is_dear else min(2, subject.settings.batch))
    whole = subject.run(base)
    if not comparable(whole):
        return undetermined("the outputs hold NaN or infinite numbers")
    effects, refused = {}, {}
    half = max(1, base.shape[1] // 2)
    for length in (half, *(n for n in _lengths(subject) if n != half)):
        try:
            effects[length] = max_abs_diff(subject.run(base[:, :length]), whole[:, :length])
        except Exception as problem:
            refused[length] = type(problem).__name__
        if length == half in effects and bool(effects[half].any()) and _draws_by_shape(subject, base[:1], half):
            return undetermined(f"a prefix of {half} differs from the whole sequence by {effects[half].max():.2g}")
    if not effects:
        return not_applicable(f"the model takes no shorter sequence ({next(iter(refused.values()))})")
    if float(max_abs_diff(whole[:, :1].expand_as(whole), whole).max()) == 0:
        return failed_control("all positions have the same output")
    report = _judge(subject, base, whole, effects)
    return replace(report, why=f"{report.why}{_skipped(min(effects), refused)}")


def _lengths(subject: Subject) -> list[int]:
    every = torch.arange(1, subject.settings.seq_len)
    tried = sample(subject, every)
    if len(tried) == len(every) or subject.is_dear:
        return tried.tolist()
    borders = {n + step for n in (2**i for i in range(len(every).bit_length())) for step in (-1, 0, 1)}
    return sorted({*tried.tolist(), *every[-SUCCESSIVE:].tolist(), *borders} & {*every.tolist()})


def _draws_by_shape(subject: Subject, row: Tensor, length: int) -> bool:
    """Whether a row and its prefix differ in a model that draws random numbers: others at another shape."""
    if noise_of(subject) or not draws_randomly(subject):
        return False
    whole = subject.run(row)
    differences = max_abs_diff(subject.run(row[:, :length]), whole[:, :length])
    return float(differences.max()) > rounding(subject, scale_of(whole))


def _skipped(shortest: int, refused: dict[int, str]) -> str:
    """What was not tried, because the model raised."""
    if not refused:
        return ""
    return (
        f"; the shortest that runs is {shortest}, {len(refused)} lengths were refused ({next(iter(refused.values()))})"
    )


def _judge(subject: Subject, base: Tensor, whole: Tensor, effects: dict[int, Tensor]) -> Report:
    """Judge the length with the largest effect, each row alone; what shows among other rows only decides nothing."""
    sizes = {length: float(effect.max()) for length, effect in effects.items()}
    worst = max(sizes, key=sizes.__getitem__)
    alone = [effects[worst]]
    if len(base) > 1:
        alone = [max_abs_diff(subject.run(row[:, :worst]), subject.run(row)[:, :worst]) for row in base.split(1)]
    spread = 1 if subject.is_dear else SAMPLED
    compared = {worst, *list(effects)[:: max(1, len(effects) // spread)]}

    def measure(other: Subject) -> Tensor:
        full = other.run(base)
        return torch.cat([max_abs_diff(other.run(base[:, :n]), full[:, :n]).flatten() for n in compared])

    # Measured around the pair again: state outside the model is not restored, and is no effect of the length.
    noise = max(noise_of(subject), 4 * float(max_abs_diff(whole, subject.run(base)).max()))
    scale = scale_of(whole)
    judged = judge_calls(subject, measure, torch.cat(alone).cpu(), scale=scale, noise=noise)
    sink, effect, floor = judged.violation.sink, judged.violation.effect, judged.violation.noise_floor
    explained = BY_CHANCE * max(floor, effect, rounding(subject, scale))
    every = base.shape[1] - 1
    tried = len(_lengths(subject))
    sampled = f" ({tried} of {every} lengths, because the trace is complete)" if tried < every else ""
    if judged.verdict is Verdict.PASS and sizes[worst] > explained and not rows_draw_apart(subject):
        return undetermined(f"cutting the sequence at {worst} changes rows by {sizes[worst]:.1e} among others only")
    return judged.having(source=Site(worst, sink.row)).report(
        f"cutting the sequence at {subject.input_at(worst)} changes the output at {subject.output_at(sink.position)} "
        f"by {effect:.3g}",
        f"{len(effects)} prefixes{sampled} agree with the whole sequence to {effect:.1e} (floor {floor:.1e})",
    )


PROBE = Probe(
    "prefix-length",
    "outputs of a prefix with and without what follows",
    order=2,
    run=run,
    at_any_length=False,
    forwards=lambda subject: len(_lengths(subject)) + 6,
    blind_to="leaks that a prefix shares with the whole: a future token that decides nothing at the lengths tried (it "
    "draws one sequence, not many), state, other rows, training mode, other dtypes.",
)
