"""Evolves inputs that flip rankings: hard selections leak only if a later token changes which items are selected.

Random suffixes often leave a ranking as it is. This search records the values that the subject ranks (top-k, sort,
argmax, …) and mutates suffixes so that those of them that respond increase, or decrease, until the order changes and
with it an earlier output.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from audits.instruments.changes import replace_from
from audits.instruments.differences import Changes, Comparison, Effects, digest
from audits.instruments.reinit_zero_weights import zero_initialized
from audits.subject.operations import Ran, record
from audits.subject.subject import Subject

RANKINGS = ("topk", "sort", "argsort", "argmax", "argmin", "max", "min", "kthvalue", "median", "cummax")
GENERATIONS = 12
POPULATION = 16
CUTS = 3
GOALS = 6  # populations: ranked values are pushed up and down for at most three ranking calls


@dataclass(frozen=True)
class Goal:
    """Increase (sign +1) or decrease (-1) the values of ranking call number `call`."""

    call: int
    sign: int


@dataclass(frozen=True)
class Observed:
    """Of some rows: values compared by each ranking call, [R, K] each, and output differences from the base, [R, N]."""

    compared: list[Tensor]
    differences: Tensor


def search(comparison: Comparison, gen: torch.Generator) -> tuple[Changes, Effects] | None:
    """Suffixes evolved to change rankings, all generations together, with effects; None if the subject ranks nothing.

    From an equal state of the generator it is done once. Where weights are all zero, which switches paths off, nothing
    is evolved: the subject is tried again with small values there.
    """
    if zero_initialized(comparison.subject):
        return None
    tried = ("evolved", comparison.training, digest(comparison.base, gen.get_state()))
    found, state = comparison.once(tried, lambda: (_evolve(comparison, gen), gen.get_state()))
    gen.set_state(state)
    return found


def _evolve(comparison: Comparison, gen: torch.Generator) -> tuple[Changes, Effects] | None:
    """The same. Each goal has a population of its own; all goals share the forward passes."""
    subject, base = comparison.subject, comparison.base
    ranked = len(_observe(comparison, base).compared)
    if not ranked:
        return None
    # With fewer ranking calls each has more populations, at other cuts.
    every = [Goal(call, sign) for call in range(ranked) for sign in (1, -1)]
    goals = [every[i % len(every)] for i in range(GOALS)]
    length, rows = base.shape[1], GOALS * POPULATION
    candidates = sorted({max(1, length * (i + 1) // (CUTS + 1)) for i in range(CUTS)})
    cuts = torch.tensor([candidates[(i + i // len(every)) % len(candidates)] for i in range(GOALS)])
    cuts = cuts.repeat_interleave(POPULATION)
    reference = _observe(comparison, base.expand(rows, *base.shape[1:])).compared
    generations = [replace_from(base, subject.draw(rows, length, gen), cuts)]
    observed = [_observe(comparison, generations[0].inputs)]
    for _ in range(GENERATIONS):
        parents = generations[-1].inputs[_fittest(observed[-1].compared, reference, goals)]
        generations.append(replace_from(base, _mutate(subject, parents, gen), cuts))
        observed.append(_observe(comparison, generations[-1].inputs))
    changes = Changes.join(generations)
    return changes, Effects.of(torch.cat([each.differences for each in observed]), changes.cuts)


def _observe(comparison: Comparison, inputs: Tensor) -> Observed:
    """Run some rows; only those ranking calls count that every batch of rows makes with the same number of values."""
    batches: list[list[Tensor]] = []
    differences: list[Tensor] = []
    for part in inputs.split(comparison.rows):
        comparison.baseline(len(part))  # beforehand, so that its rankings are not recorded
        found, compared = record(partial(comparison.differences, part), partial(_ranked, len(part)))
        differences.append(found)
        batches.append(compared)
    together = zip(*batches, strict=False)
    compared = [torch.cat(call) for call in together if len({values.shape[1] for values in call}) == 1]
    return Observed(compared, torch.cat(differences))


def _ranked(rows: int, ran: Ran) -> list[Tensor]:
    """What a ranking operation along an axis compares, one row for each batch row."""
    name, _, overload = ran.func.__name__.partition(".")
    if name not in RANKINGS or overload == "other" or not ran.args or not isinstance(ran.args[0], Tensor):
        return []
    values = ran.args[0].detach()
    if not values.is_floating_point() or values.numel() % rows or values.numel() <= rows:
        return []
    return [values.double().reshape(rows, -1).nan_to_num().cpu()]


def _fittest(compared: list[Tensor], reference: list[Tensor], goals: list[Goal]) -> Tensor:
    """Row numbers of the parents: the fittest quarter of each goal's population, four times."""
    chosen = []
    for index, goal in enumerate(goals):
        rows = slice(index * POPULATION, (index + 1) * POPULATION)
        best = _fitness(compared, reference, goal, rows).argsort(descending=True)[: POPULATION // 4]
        chosen.append((best + index * POPULATION).repeat(4))
    return torch.cat(chosen)


def _fitness(compared: list[Tensor], reference: list[Tensor], goal: Goal, rows: slice) -> Tensor:
    """How far the values of some rows are in the goal's direction, of those that respond; -inf where none does."""
    if goal.call >= min(len(compared), len(reference)) or compared[goal.call].shape != reference[goal.call].shape:
        return torch.zeros(POPULATION)
    values, before = (compared[goal.call][rows] * goal.sign, reference[goal.call][rows] * goal.sign)
    return values.masked_fill(values == before, float("-inf")).amax(1)


def _mutate(subject: Subject, parents: Tensor, gen: torch.Generator) -> Tensor:
    """Every fourth row stays as it is (the best are kept); the others change at a random rate, from none to half.

    Some rows are first crossed with another parent, or rolled along the sequence.
    """
    rows, length = parents.shape[:2]
    fresh = subject.draw(rows, length, gen) * (10 if subject.settings.input == "features" else 1)
    rate = 0.5 * torch.rand(rows, 1, generator=gen) ** 2
    kept = torch.arange(rows) % POPULATION < POPULATION // 4
    hit = (torch.rand(rows, length, generator=gen) < rate) & ~kept[:, None]
    mixed = _recombine(parents, ~kept, gen)
    return torch.where(hit[..., None] if parents.ndim == 3 else hit, fresh, mixed)


def _recombine(parents: Tensor, may: Tensor, gen: torch.Generator) -> Tensor:
    """A quarter of the rows that may change get another row's end from some position on; another quarter is rolled."""
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
