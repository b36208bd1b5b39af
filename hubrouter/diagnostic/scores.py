"""Scores of a router, what is read by them, and their quality: precision, its chance level, rank, and the loss."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from hubrouter.diagnostic.batch import Batch, Reading
from hubrouter.shapes import Bool, Float, Int


class Scores(NamedTuple):
    """Scores of units for the query of each sequence, and the unit of each token.

    A unit is a token, or a segment or a bank of tokens.
    """

    unit: Float[Tensor, "B U"]
    home: Int[Tensor, "B N"]


def by_token(scores: Float[Tensor, "B N"]) -> Scores:
    """Every token is one unit."""
    return Scores(scores, torch.arange(scores.shape[1], device=scores.device).expand(scores.shape))


def read(scores: Scores, batch: Batch, reading: Reading) -> Bool[Tensor, "B N"]:
    """The tokens read: those of the best units, the lower unit first among equals, and their successors."""
    masked = scores.unit.masked_fill(~_open(scores, batch), float("-inf"))
    best = masked.sort(dim=1, descending=True, stable=True).indices[:, : reading.picks]
    picked = torch.zeros_like(masked, dtype=torch.bool).scatter_(1, best, True).gather(1, scores.home)
    return picked | F.pad(picked[:, :-1], (1, 0)) if reading.successors else picked


def precision(scores: Scores, batch: Batch, reading: Reading) -> Float[Tensor, " B"]:
    """The probability that the answer is read, in [0, 1], float64.

    It is 0 or 1 except among equal scores, where ties are broken at random; that mean is computed exactly, so a router
    with constant scores gets exactly the chance level.

    Raises:
        ValueError: a sequence has fewer candidates than picks.
    """
    free = _open(scores, batch)
    if int(free.sum(1).min()) < reading.picks:
        raise ValueError(f"{reading.picks} units are to be picked, but a sequence has {int(free.sum(1).min())}")
    unit = scores.unit.detach().masked_fill(~free, float("-inf"))
    border = unit.topk(reading.picks, dim=1).values[:, -1:]
    hit, above, tied = _hits(scores, batch, reading) & free, unit > border, (unit == border) & free
    left = reading.picks - above.sum(1)
    missed = _missed(tied.sum(1), (tied & hit).sum(1), left)
    return torch.where((above & hit).any(1), torch.ones_like(missed), 1 - missed)


def chance(scores: Scores, batch: Batch, reading: Reading) -> Float[Tensor, " B"]:
    """The precision of units picked at random, exactly."""
    return precision(scores._replace(unit=torch.zeros_like(scores.unit)), batch, reading)


def normalised(found: float, by_chance: float) -> float:
    """Precision on a scale on which chance is 0 and perfect precision is 1."""
    return (found - by_chance) / (1 - by_chance)


def rank(scores: Scores, batch: Batch) -> Float[Tensor, " B"]:
    """The rank of the answer's unit among the candidates, 1 is the best; equal scores share the mean rank."""
    free, target = _open(scores, batch), _at(scores.home, batch.answer)
    unit = scores.unit.detach().masked_fill(~free, float("-inf")).double()
    own = unit.gather(1, target[:, None])
    above, equal = (unit > own).sum(1), ((unit == own) & free).sum(1)
    return 1 + above + (equal - 1) / 2


def route_loss(scores: Scores, batch: Batch) -> Tensor:
    """Cross-entropy of the answer's unit under the softmax of the scores (L_route of arXiv:2603.20997), in nats."""
    masked = scores.unit.masked_fill(~_open(scores, batch), torch.finfo(scores.unit.dtype).min)
    return F.cross_entropy(masked, _at(scores.home, batch.answer))


def _open(scores: Scores, batch: Batch) -> Bool[Tensor, "B U"]:
    """Units with a candidate token."""
    count = torch.zeros_like(scores.unit).scatter_add(1, scores.home, batch.candidates.to(scores.unit.dtype))
    return count > 0


def _hits(scores: Scores, batch: Batch, reading: Reading) -> Bool[Tensor, "B U"]:
    """Units whose selection reads the answer: its own, and with successors its predecessor's."""
    hit = torch.zeros_like(scores.unit, dtype=torch.bool)
    hit.scatter_(1, _at(scores.home, batch.answer)[:, None], True)
    if reading.successors:
        before = _at(scores.home, (batch.answer - 1).clamp_min(0))
        hit |= F.one_hot(before, hit.shape[1]).bool() & (batch.answer > 0)[:, None]
    return hit


def _missed(of: Tensor, hits: Tensor, drawn: Tensor) -> Float[Tensor, " B"]:
    """The probability that none of `hits` units among `of` is among `drawn` ones drawn without replacement."""
    of, hits, drawn = of.double(), hits.double(), drawn.double()
    rest = of - hits
    ways = torch.lgamma(rest + 1) - torch.lgamma((rest - drawn).clamp_min(0) + 1)
    log = ways - torch.lgamma(of + 1) + torch.lgamma(of - drawn + 1)
    return torch.where(drawn > rest, 0.0, log.exp())


def _at(values: Tensor, position: Tensor) -> Tensor:
    """values[b, position[b]] for each row."""
    return values.gather(1, position[:, None]).squeeze(1)
