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
from torch.utils._python_dispatch import TorchDispatchMode

from audits.differences import Changes
from audits.subject import Subject

RANKINGS = ("topk", "sort", "argsort", "argmax", "argmin", "max", "min", "kthvalue", "median", "cummax")
GENERATIONS = 6
POPULATION = 16
CUTS = 3
GOALS = 6  # ranked values are pushed up and down for at most three ranking calls


class RankingWatch(TorchDispatchMode):
    """Keeps the inputs of all ranking operations along an axis, one row for each batch row."""

    def __init__(self, rows: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # torch leaves it unannotated
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


def search(subject: Subject, base: Tensor, gen: torch.Generator) -> Changes | None:
    """Suffixes bred to upset rankings, all generations together; None if the subject ranks nothing."""
    watched = _watch(subject, base)
    goals = [Goal(call, sign) for call in range(len(watched)) for sign in (1, -1)][:GOALS]
    if not goals:
        return None
    length = base.shape[1]
    cuts = sorted({max(1, length * (i + 1) // (CUTS + 1)) for i in range(CUTS)})
    bred = [_climb(subject, base, cuts[i % len(cuts)], goal, gen) for i, goal in enumerate(goals)]
    return Changes.join(bred)


def _watch(subject: Subject, inputs: Tensor) -> list[Tensor]:
    with RankingWatch(len(inputs)) as watch:
        subject.run(inputs)
    compared: list[Tensor] = watch.compared
    return compared


def _climb(subject: Subject, base: Tensor, cut: int, goal: Goal, gen: torch.Generator) -> Changes:
    """Generations of suffixes from `cut` on; each keeps the fittest quarter and mutates it."""
    population = _suffix(base, subject.draw(POPULATION, base.shape[1], gen), cut)
    reference = _watch(subject, base.expand(POPULATION, *base.shape[1:]))
    tried = [population]
    for _ in range(GENERATIONS):
        fitness = _fitness(_watch(subject, population), reference, goal)
        parents = population[fitness.argsort(descending=True)[: POPULATION // 4]].repeat(4, *[1] * (base.ndim - 1))
        population = _suffix(base, _mutate(subject, parents, gen), cut)
        tried.append(population)
    inputs = torch.cat(tried)
    return Changes(inputs, torch.full((len(inputs),), cut))


def _suffix(base: Tensor, other: Tensor, cut: int) -> Tensor:
    return torch.cat([base[:, :cut].expand(len(other), *base[:, :cut].shape[1:]), other[:, cut:]], dim=1)


def _fitness(compared: list[Tensor], reference: list[Tensor], goal: Goal) -> Tensor:
    """How far the responding values were driven; -inf where nothing responded."""
    if goal.call >= min(len(compared), len(reference)) or compared[goal.call].shape != reference[goal.call].shape:
        return torch.zeros(POPULATION)
    values, before = compared[goal.call] * goal.sign, reference[goal.call] * goal.sign
    return values.masked_fill(values == before, float("-inf")).amax(1)


def _mutate(subject: Subject, parents: Tensor, gen: torch.Generator) -> Tensor:
    """Replace about a sixth of the positions by fresh draws, and copy a stretch of each row to another place."""
    fresh = subject.draw(len(parents), parents.shape[1], gen)
    if subject.settings.input == "features":
        fresh = fresh * 10.0
    hit = torch.rand(parents.shape[:2], generator=gen) < 1 / 6
    children = torch.where(hit[..., None] if parents.ndim == 3 else hit, fresh, parents)
    shift = int(torch.randint(1, max(parents.shape[1], 2), (1,), generator=gen))
    rolled = torch.where(torch.rand(len(parents), generator=gen) < 0.25, 1, 0).bool()
    children[rolled] = children[rolled].roll(shift, dims=1)
    return children
