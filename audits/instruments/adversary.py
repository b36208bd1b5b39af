"""An adversary that searches for rankings to flip: hard selections leak only when a later token changes who is chosen.

Random suffixes often leave a ranking as it is. The adversary watches the values the subject compares (top-k, sort,
argmax, …) and climbs: it mutates suffixes so that the compared values that respond are driven up, or down, until the
order changes and the past moves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from audits.instruments.changes import from_cut
from audits.instruments.differences import Changes, Comparison, Moved
from audits.subject.operations import DispatchMode
from audits.subject.subject import Subject

RANKINGS = ("topk", "sort", "argsort", "argmax", "argmin", "max", "min", "kthvalue", "median", "cummax")
GENERATIONS = 12
POPULATION = 16
CUTS = 3
GOALS = 6  # populations: ranked values are pushed up and down for at most three ranking calls


class RankingWatch(DispatchMode):
    """Keeps the inputs of all ranking operations along an axis, one row for each batch row."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.rows = rows
        self.compared: list[Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, _, overload = func.__name__.partition(".")
        if name in RANKINGS and overload != "other" and args and isinstance(args[0], Tensor):
            values = args[0].detach()
            if values.is_floating_point() and values.numel() % self.rows == 0 and values.numel() > self.rows:
                self.compared.append(values.double().reshape(self.rows, -1).nan_to_num().cpu())
        return func(*args, **(kwargs or {}))


@dataclass(frozen=True)
class Goal:
    """Drive the values of ranking call `call` up (sign +1) or down (-1)."""

    call: int
    sign: int


@dataclass(frozen=True)
class Watched:
    """What some rows did: values compared by each ranking call, [R, K] each, and differences from the base, [R, N]."""

    compared: list[Tensor]
    gaps: Tensor


@dataclass(frozen=True)
class Bred:
    """All suffixes that were bred, and what they did."""

    changes: Changes
    moved: Moved


def search(comparison: Comparison, gen: torch.Generator) -> Bred | None:
    """Suffixes bred to upset rankings, all generations together; None if the subject ranks nothing.

    Each goal has a population of its own; all goals share the forward passes.
    """
    subject, base = comparison.subject, comparison.base
    ranked = len(_watch(comparison, base).compared)
    if not ranked:
        return None
    # Fewer ranking calls leave more populations, at other cuts, to each.
    every = [Goal(call, sign) for call in range(ranked) for sign in (1, -1)]
    goals = [every[i % len(every)] for i in range(GOALS)]
    length, rows = base.shape[1], GOALS * POPULATION
    places = sorted({max(1, length * (i + 1) // (CUTS + 1)) for i in range(CUTS)})
    cuts = torch.tensor([places[(i + i // len(every)) % len(places)] for i in range(GOALS)])
    cuts = cuts.repeat_interleave(POPULATION)
    reference = _watch(comparison, base.expand(rows, *base.shape[1:])).compared
    bred, seen = [from_cut(base, subject.draw(rows, length, gen), cuts)], []
    for _ in range(GENERATIONS):
        seen.append(_watch(comparison, bred[-1].inputs))
        parents = bred[-1].inputs[_fittest(seen[-1].compared, reference, goals)]
        bred.append(from_cut(base, _mutate(subject, parents, gen), cuts))
    seen.append(_watch(comparison, bred[-1].inputs))
    changes = Changes.join(bred)
    return Bred(changes, comparison.moved(torch.cat([watched.gaps for watched in seen]), changes.cuts))


def _watch(comparison: Comparison, inputs: Tensor) -> Watched:
    """Run some rows; of the ranking calls only those count that every batch of rows makes alike."""
    batches: list[list[Tensor]] = []
    gaps: list[Tensor] = []
    for part in inputs.split(comparison.rows):
        comparison.baseline(len(part))  # beforehand, so that its rankings are not watched
        with RankingWatch(len(part)) as watch:
            gaps.append(comparison.gaps(part))
        batches.append(watch.compared)
    together = zip(*batches, strict=False)
    compared = [torch.cat(call) for call in together if len({values.shape[1] for values in call}) == 1]
    return Watched(compared, torch.cat(gaps))


def _fittest(compared: list[Tensor], reference: list[Tensor], goals: list[Goal]) -> Tensor:
    """Row numbers of the parents: of each goal's population the fittest quarter, four times."""
    chosen = []
    for index, goal in enumerate(goals):
        rows = slice(index * POPULATION, (index + 1) * POPULATION)
        best = _fitness(compared, reference, goal, rows).argsort(descending=True)[: POPULATION // 4]
        chosen.append((best + index * POPULATION).repeat(4))
    return torch.cat(chosen)


def _fitness(compared: list[Tensor], reference: list[Tensor], goal: Goal, rows: slice) -> Tensor:
    """How far the responding values of some rows were driven; -inf where nothing responded."""
    if goal.call >= min(len(compared), len(reference)) or compared[goal.call].shape != reference[goal.call].shape:
        return torch.zeros(POPULATION)
    values, before = (compared[goal.call][rows] * goal.sign, reference[goal.call][rows] * goal.sign)
    return values.masked_fill(values == before, float("-inf")).amax(1)


def _mutate(subject: Subject, parents: Tensor, gen: torch.Generator) -> Tensor:
    """Every fourth row stays as it is (the best must not be lost); the others change anywhere between little and much.

    Some rows first take over another parent's second half, or copy a stretch of themselves to another place.
    """
    rows, length = parents.shape[:2]
    fresh = subject.draw(rows, length, gen) * (10 if subject.settings.input == "features" else 1)
    rate = 0.5 * torch.rand(rows, 1, generator=gen) ** 2
    kept = torch.arange(rows) % POPULATION < POPULATION // 4
    hit = (torch.rand(rows, length, generator=gen) < rate) & ~kept[:, None]
    mixed = _recombine(parents, ~kept, gen)
    return torch.where(hit[..., None] if parents.ndim == 3 else hit, fresh, mixed)


def _recombine(parents: Tensor, may: Tensor, gen: torch.Generator) -> Tensor:
    """A quarter of the rows that may change get a neighbour's end from some position on; another quarter is rolled."""
    rows, length = parents.shape[:2]
    lot = torch.rand(rows, generator=gen)
    crossing = torch.randint(1, max(length, 2), (rows, 1), generator=gen)
    shift = int(torch.randint(1, max(length, 2), (1,), generator=gen))
    position = torch.arange(length)
    crossed = ((lot < 0.25) & may)[:, None] & (position >= crossing)
    rolled = ((lot > 0.75) & may)[:, None].expand(rows, length)
    if parents.ndim == 3:
        crossed, rolled = crossed[..., None], rolled[..., None]
    return torch.where(rolled, parents.roll(shift, dims=1), torch.where(crossed, parents.roll(1, dims=0), parents))
