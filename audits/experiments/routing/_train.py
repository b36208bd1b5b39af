"""Supervised training of one mechanism of the routing diagnostic, and what is measured on held-out questions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from audits.evidence.experiment import Progress
from audits.experiments.training.descent import descend
from audits.subject.randomness import generator
from hubrouter.diagnostic.batch import Batch, Reading, Task
from hubrouter.diagnostic.model import RoutedModel, decayed
from hubrouter.diagnostic.router import at
from hubrouter.diagnostic.routers.investigator import Investigator
from hubrouter.diagnostic.routers.random_projection import RandomProjection
from hubrouter.diagnostic.scores import Scores, by_token, chance, precision, rank, read

# The generator seeds of held-out questions, the same for all runs: those that choose a rate, and those that judge.
QUESTIONS = {"tuning": 2_000_003, "judged": 1_000_003}
RANDOM_DRAWS = 8  # random projections on the trained representation


@dataclass(frozen=True)
class Recipe:
    """How long and how fast.

    Attributes:
        steps: updates.
        batch: questions in each.
        lr: the highest learning rate of the cycle.
        every: steps between two evaluations.
        held_out: questions of an evaluation.
        asked: which ones, a name in `QUESTIONS`.
    """

    steps: int
    batch: int
    lr: float
    every: int
    held_out: int
    asked: str = "judged"


def questions(task: Task, recipe: Recipe) -> Batch:
    """The held-out questions."""
    return task.draw(recipe.held_out, torch.Generator().manual_seed(QUESTIONS[recipe.asked]))


def train(
    model: RoutedModel, task: Task, recipe: Recipe, seed: int, progress: Progress, device: str = "cpu"
) -> list[dict[str, float]]:
    """Train in place by label and route (arXiv:2603.20997: AdamW, one cycle); the curve over the steps.

    A run whose loss is not finite ends there.
    """
    held_out = questions(task, recipe).to(device)
    curve = [point(model, task.reading, held_out, 0)]
    for step, loss in enumerate(_steps(model, task, recipe, seed, device), 1):
        if not math.isfinite(loss):
            break
        if step % recipe.every == 0 or step == recipe.steps:
            curve.append(point(model, task.reading, held_out, step))
        progress(step, recipe.steps, f"precision {curve[-1]['precision']:.2f}")
    return curve


def _steps(model: RoutedModel, task: Task, recipe: Recipe, seed: int, device: str) -> Iterator[float]:
    """One update a step; yields the loss before it."""
    data = generator(seed, "data")
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=recipe.lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.lr, total_steps=recipe.steps)
    for step in range(recipe.steps):
        batch = task.draw(recipe.batch, data).to(device)
        loss = model.loss(model(batch, task.reading), batch, decayed(step, recipe.steps))
        descend(optimizer, loss)
        schedule.step()
        yield loss.item()


@torch.no_grad()
def point(model: RoutedModel, asked: Reading, held_out: Batch, step: int) -> dict[str, float]:
    """One point of the curve."""
    answered = model(held_out, asked)
    correct = (answered.logits.argmax(-1) == held_out.label).double().mean()
    return {"step": step, **routed(answered.scores, held_out, model.router.reading(asked)), "accuracy": float(correct)}


def routed(scores: Scores, batch: Batch, reading: Reading) -> dict[str, float]:
    """Precision, its chance level, mean rank and the share of tokens read; not finite scores find nothing."""
    if not scores.unit.isfinite().all():
        return {"precision": 0.0, "chance": 0.0, "rank": math.nan, "share": 0.0}
    return {
        "precision": float(precision(scores, batch, reading).mean()),
        "chance": float(chance(scores, batch, reading).mean()),
        "rank": float(rank(scores, batch).mean()),
        "share": float(read(scores, batch, reading).double().mean()),
    }


@torch.no_grad()
def representation_measures(model: RoutedModel, task: Task, recipe: Recipe, device: str = "cpu") -> dict[str, Any]:
    """What the trained representation is worth to other projections, and the form that the trained ones have.

    Random projections and the cosine see the same representation (arXiv:2603.20997: 2.6 % for random ones). The gap is
    the mean cosine of query and answer less that of query and other candidates.
    """
    if type(model.router) is not Investigator:
        return {}
    batch = questions(task, recipe).to(device)
    h = model(batch, task.reading).h
    random = []
    for seed in range(RANDOM_DRAWS):
        other = RandomProjection(replace(model.config, seed=seed)).to(device)
        random.append(routed(other(h, batch), batch, task.reading)["precision"])
    cosines = F.cosine_similarity(at(h, batch.query)[:, None], h, dim=-1)
    return {
        "random_projection": sum(random) / len(random),
        "cosine": routed(by_token(cosines), batch, task.reading)["precision"],
        "cosine_gap": _gap(cosines, batch),
        "spectrum": torch.linalg.svdvals(model.router.form().double()).tolist(),
    }


def _gap(cosines: Tensor, batch: Batch) -> float:
    others = batch.candidates.clone().scatter_(1, batch.answer[:, None], False)
    mean = (cosines * others).sum(1) / others.sum(1)
    return float((cosines.gather(1, batch.answer[:, None]).squeeze(1) - mean).mean())
