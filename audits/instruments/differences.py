"""Runs many changed inputs against their base and says which rows moved outputs before their cut."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from audits.instruments.noise_floor import Weighed, gap, noise_of, weigh
from audits.instruments.probe import Pair, Sighting
from audits.results import Site, Verdict
from audits.subject.budget import OutOfTime
from audits.subject.randomness import generator
from audits.subject.subject import Subject

CONFIRMED = 3  # strongest rows run again alone


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
class Moved:
    """What the changes did, row by row.

    Attributes:
        past: largest difference before the cut.
        future: largest difference at or after the cut.
        beyond: largest difference after the cut position itself: influence crossed positions if only the cut changed.
    """

    past: Tensor
    future: Tensor
    beyond: Tensor


@dataclass(frozen=True)
class Felt:
    """What a pair of inputs did where outputs must agree: the difference at each position, and the largest output."""

    past: Tensor
    scale: float

    @property
    def effect(self) -> float:
        """The largest difference."""
        return float(self.past.max())


@dataclass(frozen=True)
class Judged:
    """A pair of inputs, what it did, and what that is."""

    pair: Pair
    felt: Felt
    weighed: Weighed

    @property
    def leaks(self) -> bool:
        """Whether it is a leak."""
        return self.weighed.verdict is Verdict.LEAK

    def sighting(self) -> Sighting:
        """The source and the place before it that feels it most."""
        sink = int(self.felt.past.argmax())
        return Sighting(Site(self.pair.cut, 0), Site(sink, 0), self.felt.effect, self.weighed.noise_floor, self.pair)


class Comparison:
    """Compares rows against the base run in the same slot of an equally shaped batch, so that rounding is equal too."""

    def __init__(self, subject: Subject, base: Tensor, *, training: bool = False) -> None:
        self.subject, self.base, self.training = subject, base, training
        self.alone = subject.run(base, training=training)
        self.repeat = self._training_noise() if training else noise_of(subject)
        self.rows = subject.rows(self.alone)
        self._baselines: dict[int, Tensor] = {1: self.alone}

    def _training_noise(self) -> float:
        """How far equal calls in training mode differ when another comes between."""
        gen = generator(self.subject.settings.seed, "noise")
        self.subject.run(self.subject.draw(1, self.base.shape[1], gen), training=True)
        return float(gap(self.alone, self.subject.run(self.base, training=True)).max())

    def baseline(self, rows: int) -> Tensor:
        """Outputs of the base input in every slot of a batch."""
        if rows not in self._baselines:
            repeated = self.base.expand(rows, *self.base.shape[1:])
            self._baselines[rows] = self.subject.run(repeated, training=self.training)
        return self._baselines[rows]

    def gaps(self, inputs: Tensor, rows: int | None = None, bases: Tensor | None = None) -> Tensor:
        """Difference from the base (or from each row's own) at every position, [R, N], at most `rows` at a time."""
        rows = rows or self.rows
        parts = []
        for start in range(0, len(inputs), rows):
            part = inputs[start : start + rows]
            own = None if bases is None else self.subject.run(bases[start : start + rows], training=self.training)
            outputs = self.subject.run(part, training=self.training)
            parts.append(gap(self.baseline(len(part)) if own is None else own, outputs))
        return torch.cat(parts).cpu()

    def measure(self, changes: Changes, rows: int | None = None) -> Moved:
        """What each change did to outputs before and after its cut."""
        return self.moved(self.gaps(changes.inputs, rows, changes.bases), changes.cuts)

    @staticmethod
    def moved(gaps: Tensor, cuts: Tensor) -> Moved:
        """Differences [R, N] before and after each row's cut [R]."""
        position = torch.arange(gaps.shape[1])
        cuts = cuts[:, None]
        parts = [gaps.where(where, 0.0).amax(1) for where in (position < cuts, position >= cuts, position > cuts)]
        return Moved(*parts)

    def strongest(self, moved: Moved) -> Iterator[int]:
        """The few rows that moved the past most, in that order, if they moved it at all: to be confirmed."""
        for row in moved.past.argsort(descending=True)[:CONFIRMED].tolist():
            if moved.past[row] > self.repeat:
                yield row

    def confirm(self, changes: Changes, row: int) -> tuple[Weighed, Sighting]:
        """Run one change by itself, judge it, and narrow the source down to the latest position that is felt."""
        one = changes.rows(torch.tensor([row]))
        if one.bases is not None:
            own = Comparison(self.subject, one.bases, training=self.training)
            return own.confirm(Changes(one.inputs, one.cuts), 0)
        judged = self._judge(Pair(self.base, one.inputs, int(one.cuts[0]), self.training))
        if judged.leaks:
            # What is confirmed stands, though there may be no time left to find the latest source.
            with contextlib.suppress(OutOfTime):
                judged = self._judge(self._latest_source(judged.pair))
        return judged.weighed, judged.sighting()

    def _judge(self, pair: Pair) -> Judged:
        """Leak or rounding; where the subject is noisy, its noise is measured again around this very change."""
        seen = felt(self.subject, pair)
        repeat = self.repeat
        if repeat:
            after = self.subject.run(self.base, training=self.training)
            repeat = max(repeat, 4 * float(gap(self.alone, after).max()))
        weighed = weigh(
            self.subject,
            seen.effect,
            lambda other: felt(other, pair).effect,
            same_shape=True,
            scale=seen.scale,
            repeat=repeat,
        )
        return Judged(pair, seen, weighed)

    def _latest_source(self, pair: Pair) -> Pair:
        """The same change kept only from as late a position on as still moves the past before the original cut."""
        low, high = pair.cut, pair.base.shape[1] - 1
        best = pair
        while low < high:
            middle = (low + high + 1) // 2
            changed = torch.cat([pair.base[:, :middle], pair.changed[:, middle:]], dim=1)
            trial = Pair(pair.base, changed, middle, self.training)
            if self._judge(trial).leaks:
                low, best = middle, trial
            else:
                high = middle - 1
        return best


def felt(subject: Subject, pair: Pair) -> Felt:
    """Both inputs of a pair, each run alone, compared where they must agree: before the cut as a rule."""
    before = subject.run(pair.base, training=pair.training, told=pair.told)
    after = subject.run(pair.changed, training=pair.training, told=pair.told)
    scale = max(scale_of(before), scale_of(after))
    return Felt(gap(before, after)[0, slice(*pair.still)].cpu(), scale)


def scale_of(outputs: Tensor) -> float:
    """The largest finite absolute output: rounding is relative to it."""
    return float(outputs.double().nan_to_num(nan=0, posinf=0, neginf=0).abs().max())
