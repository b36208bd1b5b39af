"""Perturbation: change what comes later, and see whether any earlier output changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch

from audits.instruments import adversary, changes
from audits.instruments.differences import Changes, Comparison, Effects
from audits.instruments.noise_floor import comparable
from audits.instruments.probe import Probe, Report, Violation, batches, failed_control, undetermined
from audits.instruments.sampling import at_any_length, in_words
from audits.results import Verdict
from audits.subject.budget import OutOfTime
from audits.subject.randomness import generator
from audits.subject.subject import Subject


@dataclass
class _SearchState:
    """The state of the search.

    Attributes:
        leak: the first confirmed violation.
        rows: changed sequences tried.
        past: largest difference before a cut, in a batch, confirmed or not.
        future: largest difference at or after a cut.
        beyond: largest difference after a position that alone was changed.
        doubts: what could not be distinguished from rounding.
    """

    leak: Violation | None = None
    rows: int = 0
    past: float = 0.0
    future: float = 0.0
    beyond: float = 0.0
    doubts: list[str] = field(default_factory=list)


def run(subject: Subject) -> Report:
    """Every cut and every position; then, if no earlier output changed, inputs evolved to change rankings.

    Positive control: outputs from the cut on must react, else nothing was tested.
    """
    comparison = Comparison(subject, subject.base())
    if not comparable(comparison.base_outputs):
        return undetermined("the outputs hold NaN or infinite numbers, which hide any influence: fix the model first")
    state = _SearchState()
    try:
        _search(comparison, state)
        return _report(subject, state)
    except OutOfTime as problem:
        return _cut_short(comparison, state, str(problem))


def _report(subject: Subject, state: _SearchState) -> Report:
    """The report of a completed search."""
    if state.leak is not None:
        why = f"{state.leak.described(state.leak.seen_in or subject)} ({state.rows} changed sequences tried)"
        return Report(Verdict.LEAK, why, (state.leak,))
    if state.future == 0:
        return failed_control("no change of the input changed any output, so nothing was tested")
    if state.doubts:
        doubt = f"outputs before the change differed by {state.doubts[0]}"
        return undetermined(f"{doubt}: rounding and leak cannot be distinguished in this precision")
    sampled = in_words(subject, subject.settings.seq_len - 1, "cuts")
    mixing = "" if state.beyond > 0 else "; no position influences any other"
    why = f"{state.rows} changed sequences{sampled}: no output before the change differed, later outputs did{mixing}"
    return Report(Verdict.PASS, why)


def _cut_short(comparison: Comparison, state: _SearchState, why: str) -> Report:
    """What had been tried when time ran out; nothing was decided."""
    planned = _planned(comparison.subject)
    tried = f"{why} after {state.rows}{f' of {planned}' if state.rows < planned else ''} changed sequences"
    if state.past <= comparison.noise:
        return undetermined(f"{tried}; none changed an output before the change")
    return undetermined(f"{tried}; outputs before the change differed by {state.past:.1e}, which was not yet decided")


def _search(comparison: Comparison, state: _SearchState) -> None:
    """All plans in turn until one leaks."""
    subject, base = comparison.subject, comparison.base
    gen = generator(subject.settings.seed, "perturbation")
    singles, suffixes = changes.plans(subject, base, gen)
    state.beyond = _try(comparison, singles, state)
    _try(comparison, suffixes, state)
    _search_further(comparison, gen, state)


def _search_further(comparison: Comparison, gen: torch.Generator, state: _SearchState) -> None:
    """Rare tokens and other prefixes, then inputs evolved to change rankings."""
    short = at_any_length(comparison.subject)
    swept = comparison if short is comparison.subject else Comparison(short, short.base())
    _try(swept, changes.sweep(short, gen), state)
    if state.leak is not None and swept is not comparison:
        state.leak = replace(state.leak, seen_in=short)
    evolved = adversary.search(comparison, gen) if state.leak is None else None
    if evolved is not None:
        _judge(comparison, *evolved, state)


def _try(comparison: Comparison, plan: Changes, state: _SearchState) -> float:
    """Measure and judge a plan, unless a leak is known; returns the largest difference beyond a cut."""
    beyond = 0.0
    for part in _portions(comparison, plan):
        if state.leak is None:
            effects = comparison.measure(part)
            _judge(comparison, part, effects, state)
            beyond = max(beyond, float(effects.beyond.max()))
    return beyond


def _portions(comparison: Comparison, plan: Changes) -> Iterator[Changes]:
    """The whole plan; where time may run out, batches in random order: the first ones cover the whole length."""
    if comparison.subject.clock.budget.seconds is None:
        yield plan
        return
    order = torch.randperm(len(plan.cuts), generator=generator(comparison.subject.settings.seed, "order"))
    for part in order.split(comparison.rows):
        yield plan.rows(part)


def _judge(comparison: Comparison, plan: Changes, effects: Effects, state: _SearchState) -> None:
    """Run the strongest rows of a plan again, alone, and in their batch what moves in company only."""
    state.rows += len(plan.cuts)
    state.past = max(state.past, float(effects.past.max()))
    state.future = max(state.future, float(effects.future.max()))
    for row in comparison.strongest(effects):
        judged = comparison.confirm(plan, row)
        explained = max(judged.violation.noise_floor, 2 * judged.violation.effect)
        if judged.verdict is Verdict.PASS and float(effects.past[row]) > explained:
            judged = comparison.confirm_among_rows(plan, row)
        if judged.leaks:
            state.leak = judged.violation
            return
        if judged.verdict is Verdict.UNDETERMINED:
            state.doubts.append(f"{judged.violation.effect:.1e} at floor {judged.violation.noise_floor:.1e}")


def _planned(subject: Subject) -> int:
    """How many sequences are tried on every subject; more are evolved for those that rank something."""
    return changes.count(subject) + changes.swept(subject)


PROBE = Probe(
    "perturbation",
    "outputs before a changed suffix or token",
    order=0,
    run=run,
    at_any_length=False,
    forwards=lambda subject: batches(subject, _planned(subject) + changes.swept(subject)) + 6,
    blind_to="dependence on the length, which two inputs of equal length share; state and decoding; paths of training "
    "mode and of other dtypes; and changes that it neither draws, sweeps nor evolves.",
)
