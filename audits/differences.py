"""Runs many changed inputs against one base input and says which rows moved outputs before their cut."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from audits.precision import Weighed, gap, weigh
from audits.probe import Pair, Sighting
from audits.subject import Subject
from audits.verdicts import Site, Verdict


@dataclass(frozen=True)
class Changes:
    """Changed inputs [R, N, ...] of one base input [1, N, ...]; row r agrees with it before cuts[r]."""

    inputs: Tensor
    cuts: Tensor

    @staticmethod
    def join(parts: list[Changes]) -> Changes:
        """All rows of several lists of changes."""
        return Changes(torch.cat([p.inputs for p in parts]), torch.cat([p.cuts for p in parts]))


@dataclass(frozen=True)
class Moved:
    """What the changes did, row by row.

    Attributes:
        past: largest difference before the cut.
        future: largest difference at or after the cut.
        beyond: largest difference after the cut position itself, so that influence crossed positions.
        finite: whether the base outputs hold only finite numbers.
    """

    past: Tensor
    future: Tensor
    beyond: Tensor
    finite: bool


class Comparison:
    """Compares rows against the base run in the same slot of an equally shaped batch, so that rounding is equal too."""

    def __init__(self, subject: Subject, base: Tensor, *, training: bool = False) -> None:
        self.subject, self.base, self.training = subject, base, training
        self.alone = subject.run(base, training=training)
        self.repeat = float(gap(self.alone, subject.run(base, training=training)).max())
        self.scale = float(self.alone.double().nan_to_num(posinf=0, neginf=0).abs().max())
        self._baselines: dict[int, Tensor] = {}

    def outputs(self, inputs: Tensor) -> Tensor:
        """Outputs of some rows, in one forward pass."""
        return self.subject.run(inputs, training=self.training)

    def baseline(self, rows: int) -> Tensor:
        """Outputs of the base input in every slot of a batch."""
        if rows not in self._baselines:
            repeated = self.base.expand(rows, *self.base.shape[1:]).contiguous()
            self._baselines[rows] = self.alone if rows == 1 else self.outputs(repeated)
        return self._baselines[rows]

    def gaps(self, inputs: Tensor) -> Tensor:
        """Difference from the base at every position, [R, N], batch by batch."""
        size = self.subject.rows(self.alone)
        parts = [gap(self.baseline(len(part)), self.outputs(part)) for part in inputs.split(size)]
        return torch.cat(parts).cpu()

    def measure(self, changes: Changes) -> Moved:
        """What each change did to outputs before and after its cut."""
        gaps = self.gaps(changes.inputs)
        position = torch.arange(gaps.shape[1])
        cuts = changes.cuts[:, None]
        parts = [gaps.where(where, 0.0).amax(1) for where in (position < cuts, position >= cuts, position > cuts)]
        return Moved(parts[0], parts[1], parts[2], bool(self.alone.isfinite().all()))

    def confirm(self, changed: Tensor, cut: int) -> tuple[Weighed, Sighting]:
        """Run one change by itself, judge it, and narrow the source down to the latest position that is felt."""
        pair = Pair(self.base, changed, cut, self.training)
        first = effect_of(self.subject, pair)
        weighed = self.judge(pair, first)
        if weighed.verdict is Verdict.LEAK:
            pair = self._latest_source(pair)
            weighed = self.judge(pair, effect_of(self.subject, pair))
        gaps = self._past(self.subject, pair)
        sink = int(gaps.argmax())
        sighting = Sighting(Site(pair.cut, 0), Site(sink, 0), float(gaps[sink]), weighed.noise_floor, pair)
        return weighed, sighting

    def judge(self, pair: Pair, effect: float) -> Weighed:
        """Leak or rounding."""
        return weigh(
            self.subject, effect, self.repeat, lambda other: effect_of(other, pair), same_shape=True, scale=self.scale
        )

    def _latest_source(self, pair: Pair) -> Pair:
        """The same change kept only from as late a position on as still moves the past before the original cut."""
        low, high = pair.cut, pair.base.shape[1] - 1
        best = pair
        while low < high:
            middle = (low + high + 1) // 2
            changed = torch.cat([pair.base[:, :middle], pair.changed[:, middle:]], dim=1)
            trial = Pair(pair.base, changed, middle, self.training)
            if self.judge(trial, effect_of(self.subject, trial)).verdict is Verdict.LEAK:
                low, best = middle, trial
            else:
                high = middle - 1
        return best

    @staticmethod
    def _past(subject: Subject, pair: Pair) -> Tensor:
        before = subject.run(pair.base, training=pair.training)
        after = subject.run(pair.changed, training=pair.training)
        return gap(before, after)[0, : pair.cut].cpu()


def effect_of(subject: Subject, pair: Pair) -> float:
    """Largest difference before the cut between the two inputs of a pair, each run alone."""
    return float(Comparison._past(subject, pair).max())
