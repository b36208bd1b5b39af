"""Runs many changed inputs against their base, and finds the rows that changed outputs before their cut."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from audits.instruments.noise_floor import SignificanceDecision, decide, max_abs_diff, noise_of, scale_of
from audits.instruments.probe import Pair, Violation
from audits.results import Site, Verdict
from audits.subject.budget import OutOfTime
from audits.subject.randomness import generator
from audits.subject.subject import Subject

MAX_CONFIRMED = 3  # strongest rows run again alone


@dataclass(frozen=True)
class Changes:
    """Changed inputs [R, N, ...] of one base input [1, N, ...]; row r agrees with it before cuts[r].

    Where `bases` [R, N, ...] is given, each row has a base of its own instead.
    """

    inputs: Tensor
    cuts: Tensor
    bases: Tensor | None = None

    def rows(self, chosen: Tensor) -> Changes:
        """Only some of the rows."""
        return Changes(self.inputs[chosen], self.cuts[chosen], None if self.bases is None else self.bases[chosen])

    @staticmethod
    def join(parts: list[Changes]) -> Changes:
        """All rows of several lists of changes of the one base."""
        return Changes(torch.cat([p.inputs for p in parts]), torch.cat([p.cuts for p in parts]))


@dataclass(frozen=True)
class Effects:
    """The effect of each change, [R].

    Attributes:
        past: largest difference before the cut.
        future: largest difference at or after the cut.
        beyond: largest difference after the cut position itself: influence across positions if only the cut changed.
    """

    past: Tensor
    future: Tensor
    beyond: Tensor

    @staticmethod
    def of(differences: Tensor, cuts: Tensor) -> Effects:
        """From differences [R, N] and each row's cut [R]."""
        position = torch.arange(differences.shape[1])
        cuts = cuts[:, None]
        masks = (position < cuts, position >= cuts, position > cuts)
        return Effects(*(differences.where(mask, 0.0).amax(1) for mask in masks))


@dataclass(frozen=True)
class Response:
    """How outputs that must agree respond to a pair of inputs.

    Attributes:
        differences: largest absolute difference at each position that must agree.
        scale: the largest absolute output.
    """

    differences: Tensor
    scale: float

    @property
    def effect(self) -> float:
        """The largest difference."""
        return float(self.differences.max())


def response(subject: Subject, pair: Pair) -> Response:
    """Both inputs of a pair, each in a call of its own, compared where they must agree: before the cut as a rule."""
    before = subject.run(pair.base, training=pair.training, extra_kwargs=pair.extra_kwargs)
    after = subject.run(pair.changed, training=pair.training, extra_kwargs=pair.extra_kwargs)
    scale = max(scale_of(before), scale_of(after))
    return Response(max_abs_diff(before, after)[pair.row, slice(*pair.must_agree)].cpu(), scale)


@dataclass(frozen=True)
class JudgedPair:
    """A pair of inputs, the response to it, and the decision about that."""

    pair: Pair
    response: Response
    decision: SignificanceDecision
    source: Site | None = None  # where it is not the pair's own row

    @property
    def leaks(self) -> bool:
        """Whether it is a leak."""
        return self.decision.verdict is Verdict.LEAK

    def violation(self) -> Violation:
        """The source and the position before it with the largest difference."""
        row, sink = self.pair.row, self.pair.must_agree[0] + int(self.response.differences.argmax())
        source, floor = self.source or Site(self.pair.cut, row), self.decision.noise_floor
        return Violation(source, Site(sink, row), self.response.effect, floor, self.pair)


def judge(subject: Subject, pair: Pair, noise: float | None = None) -> JudgedPair:
    """Leak or rounding, of a pair whose outputs must agree."""
    found = response(subject, pair)
    decision = decide(
        subject,
        found.effect,
        lambda other: response(other, pair).effect,
        same_shape=True,
        scale=found.scale,
        noise=noise,
    )
    return JudgedPair(pair, found, decision)


def judge_other_rows(subject: Subject, bases: Tensor, changed: Tensor, row: int, noise: float) -> JudgedPair:
    """Whether one row [R, N, ...], which is the same in both, depends on the others; if so, on which one at least."""

    def from_row(first: int) -> JudgedPair:
        kept = torch.cat([bases[:first], changed[first:]])
        pair = Pair(bases, kept, 0, compared=(0, bases.shape[1]), row=row)
        return replace(judge(subject, pair, noise), source=Site(None, first))

    judged = from_row(0)
    return _last(judged, 0, len(bases) - 1, from_row) if judged.leaks else judged


def _last(found: JudgedPair, low: int, high: int, at: Callable[[int], JudgedPair]) -> JudgedPair:
    """The leak at as high a number up to `high` as still leaks, by bisection from the one found at `low`."""
    while low < high:
        middle = (low + high + 1) // 2
        trial = at(middle)
        if trial.leaks:
            found, low = trial, middle
        else:
            high = middle - 1
    return found


def latest_source(found: JudgedPair, stop: int, judge_pair: Callable[[Pair], JudgedPair]) -> JudgedPair:
    """The leak with its change kept only from as late a position before `stop` as still leaks."""
    pair = found.pair

    def from_position(first: int) -> JudgedPair:
        kept = torch.cat([pair.base[:, :first], pair.changed[:, first:]], dim=1)
        return judge_pair(replace(pair, changed=kept, cut=first))

    return _last(found, pair.cut, stop - 1, from_position)


def judge_latest(subject: Subject, pair: Pair, stop: int) -> JudgedPair:
    """Leak or rounding; a leak by its latest source before `stop`."""
    judged = judge(subject, pair)
    return latest_source(judged, stop, lambda trial: judge(subject, trial)) if judged.leaks else judged


class Comparison:
    """Compares rows with the base run in the same slot of an equally shaped batch, so that rounding is equal too."""

    def __init__(self, subject: Subject, base: Tensor, *, training: bool = False) -> None:
        self.subject, self.base, self.training = subject, base, training
        self.base_outputs = subject.run(base, training=training)
        self.noise = self._training_noise() if training else noise_of(subject)
        self.rows = subject.rows(self.base_outputs)
        self._baselines: dict[int, Tensor] = {1: self.base_outputs}

    def _training_noise(self) -> float:
        """How far equal calls in training mode differ when another comes between."""
        gen = generator(self.subject.settings.seed, "noise")
        self.subject.run(self.subject.draw(1, self.base.shape[1], gen), training=True)
        return float(max_abs_diff(self.base_outputs, self.subject.run(self.base, training=True)).max())

    def baseline(self, rows: int) -> Tensor:
        """Outputs of the base input in every slot of a batch."""
        if rows not in self._baselines:
            repeated = self.base.expand(rows, *self.base.shape[1:])
            self._baselines[rows] = self.subject.run(repeated, training=self.training)
        return self._baselines[rows]

    def differences(self, inputs: Tensor, rows: int | None = None, bases: Tensor | None = None) -> Tensor:
        """Difference from the base (or from each row's own) at every position, [R, N], at most `rows` at a time."""
        rows = rows or self.rows
        parts = []
        for start in range(0, len(inputs), rows):
            part = inputs[start : start + rows]
            own = None if bases is None else self.subject.run(bases[start : start + rows], training=self.training)
            outputs = self.subject.run(part, training=self.training)
            parts.append(max_abs_diff(self.baseline(len(part)) if own is None else own, outputs))
        return torch.cat(parts).cpu()

    def measure(self, changes: Changes, rows: int | None = None) -> Effects:
        """The effect of each change on outputs before and after its cut."""
        return Effects.of(self.differences(changes.inputs, rows, changes.bases), changes.cuts)

    def strongest(self, effects: Effects) -> Iterator[int]:
        """The few rows with the largest effect before their cut, in that order, if above the noise: to be confirmed."""
        for row in effects.past.argsort(descending=True)[:MAX_CONFIRMED].tolist():
            if effects.past[row] > self.noise:
                yield row

    def confirm(self, changes: Changes, row: int) -> tuple[SignificanceDecision, Violation]:
        """Run one change by itself, decide, and narrow the source down to the latest position with an effect."""
        one = changes.rows(torch.tensor([row]))
        if one.bases is not None:
            own = Comparison(self.subject, one.bases, training=self.training)
            return own.confirm(Changes(one.inputs, one.cuts), 0)
        return self._narrowed(Pair(self.base, one.inputs, int(one.cuts[0]), self.training))

    def confirm_among_rows(self, changes: Changes, row: int) -> tuple[SignificanceDecision, Violation]:
        """The same for a change that acts in its batch only: by itself there, else by the changes of the other rows."""
        first = row - row % self.rows
        part = changes.rows(torch.arange(first, min(first + self.rows, len(changes.cuts))))
        bases = self.base.expand_as(part.inputs) if part.bases is None else part.bases
        row, cut = row - first, int(changes.cuts[row])
        together = self._judge(Pair(bases, part.inputs, cut, self.training, row=row))
        if together.decision.verdict is Verdict.PASS:
            return together.decision, together.violation()
        own, others = bases.clone(), part.inputs.clone()
        own[row], others[row] = part.inputs[row], bases[row]
        found = self._narrowed(Pair(bases, own, cut, self.training, row=row))
        if found[0].verdict is not Verdict.LEAK:
            by_others = judge_other_rows(self.subject, bases, others, row, self.noise)
            found = by_others.decision, by_others.violation()
        if found[0].verdict is not Verdict.LEAK:  # neither explains it
            return replace(together.decision, verdict=Verdict.UNDETERMINED), together.violation()
        return found

    def _narrowed(self, pair: Pair) -> tuple[SignificanceDecision, Violation]:
        """The decision on a pair; of a leak, with its source narrowed down."""
        judged = self._judge(pair)
        if judged.leaks:
            # What is confirmed remains so, though there may be no time left to find the latest source.
            with contextlib.suppress(OutOfTime):
                judged = latest_source(judged, self.base.shape[1], self._judge)
        return judged.decision, judged.violation()

    def _judge(self, pair: Pair) -> JudgedPair:
        """Leak or rounding; where the subject is noisy, its noise is measured again around this very change."""
        noise = self.noise
        if noise:
            after = self.subject.run(self.base, training=self.training)
            noise = max(noise, 4 * float(max_abs_diff(self.base_outputs, after).max()))
        return judge(self.subject, pair, noise)
