"""Runs many changed inputs against their base, and finds the rows that changed outputs before their cut."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from audits.instruments.noise_floor import decide, max_abs_diff, noise_of, scale_of
from audits.instruments.probe import Judged, Pair, Violation
from audits.results import Site, Verdict
from audits.subject.budget import OutOfTime
from audits.subject.randomness import generator
from audits.subject.subject import Subject

T = TypeVar("T")
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


def response(subject: Subject, pair: Pair) -> Tensor:
    """Largest absolute difference at each position where the outputs for a pair of inputs must agree."""
    return _compared(pair, *_both_outputs(subject, pair))


def _both_outputs(subject: Subject, pair: Pair) -> tuple[Tensor, Tensor]:
    """The outputs for both inputs of a pair, each of a call of its own."""
    base = subject.run(pair.base, training=pair.training, extra_kwargs=pair.extra_kwargs)
    return base, subject.run(pair.changed, training=pair.training, extra_kwargs=pair.extra_kwargs)


def _compared(pair: Pair, before: Tensor, after: Tensor) -> Tensor:
    return max_abs_diff(before, after)[pair.row, slice(*pair.must_agree)].cpu()


def judge_calls(
    subject: Subject,
    measure: Callable[[Subject], Tensor],
    found: Tensor | None = None,
    *,
    scale: float,
    same_shape: bool = False,
    noise: float | None = None,
    source: Site | None = None,
    first: Site | None = None,
) -> Judged:
    """Leak or rounding, of calls whose outputs must agree.

    Args:
        subject: the model.
        measure: the differences of these outputs [N], or [R, N] of several rows, in this precision or another.
        found: those already measured in this one.
        scale: the largest absolute output.
        same_shape: as in `decide`.
        noise: as in `decide`.
        source: what the outputs depend on, where that is known.
        first: position and row of the first difference; 0 and 0 by default.
    """
    found = measure(subject) if found is None else found
    effect = float(found.max())
    decision = decide(
        subject, effect, lambda other: float(measure(other).max()), same_shape=same_shape, scale=scale, noise=noise
    )
    first, (row, position) = first or Site(0, 0), divmod(int(found.argmax()), found.shape[-1])
    sink = Site((first.position or 0) + position, (first.row or 0) + row)
    return Judged(decision.verdict, Violation(source or Site(), sink, effect, decision.noise_floor))


def judge(subject: Subject, pair: Pair, noise: float | None = None, source: Site | None = None) -> Judged:
    """Leak or rounding, of a pair whose outputs must agree; the source is the cut of its row if no other is given."""
    outputs = _both_outputs(subject, pair)
    judged = judge_calls(
        subject,
        partial(response, pair=pair),
        _compared(pair, *outputs),
        scale=max(scale_of(each) for each in outputs),
        same_shape=True,
        noise=noise,
        source=source or Site(pair.cut, pair.row),
        first=Site(pair.must_agree[0], pair.row),
    )
    return judged.having(pair=pair)


def judge_other_rows(subject: Subject, bases: Tensor, changed: Tensor, row: int, noise: float) -> Judged:
    """Whether one row [R, N, ...], which is the same in both, depends on the others; if so, on which one at least."""

    def from_row(first: int) -> Judged:
        kept = torch.cat([bases[:first], changed[first:]])
        pair = Pair(bases, kept, 0, compared=(0, bases.shape[1]), row=row)
        return judge(subject, pair, noise, Site(None, first))

    judged = from_row(0)
    return _last(judged, 0, len(bases) - 1, from_row) if judged.leaks else judged


def _last(found: Judged, low: int, high: int, at: Callable[[int], Judged]) -> Judged:
    """The leak at as high a number up to `high` as still leaks, by bisection from the one found at `low`."""
    while low < high:
        middle = (low + high + 1) // 2
        trial = at(middle)
        if trial.leaks:
            found, low = trial, middle
        else:
            high = middle - 1
    return found


def judge_latest(pair: Pair, stop: int, judge_pair: Callable[[Pair], Judged]) -> Judged:
    """Leak or rounding; of a leak the change is kept only from as late a position before `stop` as still leaks."""

    def from_position(first: int) -> Judged:
        kept = torch.cat([pair.base[:, :first], pair.changed[:, first:]], dim=1)
        return judge_pair(replace(pair, changed=kept, cut=first))

    judged = judge_pair(pair)
    if not judged.leaks:
        return judged
    # What is confirmed remains so, though there may be no time left to find the latest source.
    with contextlib.suppress(OutOfTime):
        judged = _last(judged, pair.cut, stop - 1, from_position)
    return judged


def digest(*tensors: Tensor | None) -> bytes:
    """A short digest of what tensors hold."""
    hashed = hashlib.blake2b(digest_size=16)
    for tensor in tensors:
        if tensor is not None:
            held = tensor.contiguous()
            hashed.update(ctypes.string_at(held.data_ptr(), held.nbytes))  # numpy is not needed for it
    return hashed.digest()


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

    def differences(self, inputs: Tensor, bases: Tensor | None = None) -> Tensor:
        """Difference from the base (or from each row's own) at every position, [R, N]."""
        parts = []
        for start in range(0, len(inputs), self.rows):
            rows = slice(start, start + self.rows)
            before = None if bases is None else self.subject.run(bases[rows], training=self.training)
            after = self.subject.run(inputs[rows], training=self.training)
            parts.append(max_abs_diff(self.baseline(len(after)) if before is None else before, after))
        return torch.cat(parts).cpu()

    def measure(self, changes: Changes) -> Effects:
        """The effect of each change on outputs before and after its cut; of the same changes it is measured once."""
        tried = ("effects", self.training, digest(self.base, changes.inputs, changes.bases))
        return self.once(tried, lambda: Effects.of(self.differences(changes.inputs, changes.bases), changes.cuts))

    def once(self, tried: Hashable, find: Callable[[], T]) -> T:
        """What a trial finds, remembered where equal calls are equal."""
        return find() if self.noise else self.subject.once(tried, find)

    def strongest(self, effects: Effects) -> Iterator[int]:
        """The few rows with the largest effect before their cut, in that order, if above the noise: to be confirmed."""
        for row in effects.past.argsort(descending=True)[:MAX_CONFIRMED].tolist():
            if effects.past[row] > self.noise:
                yield row

    def confirmed(self, changes: Changes, effects: Effects) -> Iterator[Judged]:
        """The strongest rows, each run by itself."""
        return (self.confirm(changes, row) for row in self.strongest(effects))

    def leak_or_doubt(self, changes: Changes, effects: Effects) -> Judged | None:
        """The first of the strongest rows that does not pass."""
        return next((each for each in self.confirmed(changes, effects) if each.verdict is not Verdict.PASS), None)

    def leak(self, changes: Changes, effects: Effects | None = None) -> Violation | None:
        """The first leak among the strongest of some changes, whose effects are measured if they are not given."""
        found = self.confirmed(changes, effects or self.measure(changes))
        return next((judged.violation for judged in found if judged.leaks), None)

    def confirm(self, changes: Changes, row: int) -> Judged:
        """Run one change by itself, decide, and narrow the source down to the latest position with an effect."""
        one = changes.rows(torch.tensor([row]))
        if one.bases is not None:
            own = Comparison(self.subject, one.bases, training=self.training)
            return own.confirm(Changes(one.inputs, one.cuts), 0)
        return self._judge_latest(Pair(self.base, one.inputs, int(one.cuts[0]), self.training))

    def confirm_among_rows(self, changes: Changes, row: int) -> Judged:
        """The same for a change that acts in its batch only: by itself there, else by the changes of the other rows."""
        first = row - row % self.rows
        part = changes.rows(torch.arange(first, min(first + self.rows, len(changes.cuts))))
        bases = self.base.expand_as(part.inputs) if part.bases is None else part.bases
        row, cut = row - first, int(changes.cuts[row])
        together = self._judge(Pair(bases, part.inputs, cut, self.training, row=row))
        if together.verdict is Verdict.PASS:
            return together
        own, others = bases.clone(), part.inputs.clone()
        own[row], others[row] = part.inputs[row], bases[row]
        found = self._judge_latest(Pair(bases, own, cut, self.training, row=row))
        if not found.leaks:
            found = judge_other_rows(self.subject, bases, others, row, self.noise)
        # Where neither explains it, it is no leak yet.
        return found if found.leaks else replace(together, verdict=Verdict.UNDETERMINED)

    def _judge_latest(self, pair: Pair) -> Judged:
        return judge_latest(pair, self.base.shape[1], self._judge)

    def _judge(self, pair: Pair) -> Judged:
        """Leak or rounding; where the subject is noisy, its noise is measured again around this very change."""
        noise = self.noise
        if noise:
            after = self.subject.run(self.base, training=self.training)
            noise = max(noise, 4 * float(max_abs_diff(self.base_outputs, after).max()))
        return judge(self.subject, pair, noise)
