"""A linear bandit as the router: it learns from whether the positions that it picks are the answer.

The context of a position is the product, feature by feature, of its embedding and the query's, of length at most 1 (our
choice: a linear model of it can hold any weighted similarity). Embeddings stay as they were drawn, and have no
positions: a bandit knows content alone.
"""

from __future__ import annotations

import importlib

import torch
from torch import Tensor
from torch.nn import functional as F

import hubrouter.diagnostic.bandits as bandits
from audits.evidence.experiment import Progress
from audits.experiments.routing._train import Recipe, questions, routed
from audits.subject.randomness import generator
from hubrouter.diagnostic.bandits.ridge import LinearBandit
from hubrouter.diagnostic.batch import Batch, Reading, Task
from hubrouter.diagnostic.router import at
from hubrouter.diagnostic.scores import by_token

HELD_OUT = 256  # questions; each takes a product with every position


def learn(
    name: str, width: int, task: Task, recipe: Recipe, budget: float, seed: int, progress: Progress
) -> list[dict[str, float]]:
    """One round a question, as many questions as the recipe's steps; the curve of greedy picks on held-out ones."""
    weights, data = generator(seed, "weights"), generator(seed, "data")
    embedding = torch.randn(task.vocab_size, width, generator=weights, dtype=torch.float64)
    bandit: LinearBandit = importlib.import_module(f"{bandits.__name__}.{name}").BANDIT(width, weights)
    reading = Reading(max(1, round(budget * (task.length - 1)))) if budget else task.reading
    held_out = questions(task, recipe)
    held_out = Batch(*(part[:HELD_OUT] for part in held_out))
    curve = [point(bandit, embedding, held_out, reading, 0)]
    for step in range(1, recipe.steps + 1):
        play(bandit, embedding, task.draw(1, data), reading)
        if step % recipe.every == 0 or step == recipe.steps:
            curve.append(point(bandit, embedding, held_out, reading, step))
        progress(step, recipe.steps, f"precision {curve[-1]['precision']:.2f}")
    return curve


def play(bandit: LinearBandit, embedding: Tensor, question: Batch, reading: Reading) -> None:
    """One question: pick, see which pick is the answer (or what it is read with), learn."""
    places = question.candidates[0].nonzero().squeeze(1)
    contexts = contexts_of(embedding, question)[0, places]
    picked = bandit.pick(contexts, reading.picks)
    paid = places[picked] == question.answer
    if reading.successors:
        paid |= places[picked] + 1 == question.answer
    bandit.learn(contexts[picked], paid.double())


def contexts_of(embedding: Tensor, batch: Batch) -> Tensor:
    """[B, N, D], unit length."""
    h = embedding[batch.tokens]
    product: Tensor = F.normalize(at(h, batch.query)[:, None] * h, dim=-1)
    return product


def point(bandit: LinearBandit, embedding: Tensor, batch: Batch, reading: Reading, step: int) -> dict[str, float]:
    """The picks by the estimate alone; a bandit predicts no token."""
    scores = by_token(contexts_of(embedding, batch) @ bandit.estimate)
    return {"step": step, **routed(scores, batch, reading), "accuracy": 0.0}
