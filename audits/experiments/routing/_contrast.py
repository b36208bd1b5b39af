"""Contrastive pretraining of an Investigator's projections: InfoNCE with the other answers of the batch as negatives.

arXiv:2603.20997 does not say what its positives and negatives are; query and answer of one sequence against the answers
of the others is our reading. Embeddings stay as they were drawn.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

from audits.evidence.experiment import Progress
from audits.experiments.routing._train import Recipe
from audits.experiments.training.descent import descend
from audits.subject.randomness import generator
from hubrouter.diagnostic.batch import Task
from hubrouter.diagnostic.model import RoutedModel
from hubrouter.diagnostic.router import at
from hubrouter.diagnostic.routers.investigator import Investigator


def pretrain(model: RoutedModel, task: Task, recipe: Recipe, seed: int, progress: Progress, device: str) -> float:
    """Train the projections alone for half of the recipe's steps; the last nats."""
    assert isinstance(model.router, Investigator)
    data = generator(seed, "contrast")
    optimizer = torch.optim.AdamW(model.router.parameters(), lr=recipe.lr)
    loss, steps = torch.zeros(()), recipe.steps // 2
    for step in range(steps):
        batch = task.draw(recipe.batch, data).to(device)
        with torch.no_grad():
            h = model.represent(batch)
        asked, answers = model.router.query(at(h, batch.query)), model.router.key(at(h, batch.answer))
        logits = asked @ answers.mT * model.router.scale
        loss = F.cross_entropy(logits, torch.arange(len(logits), device=logits.device))
        descend(optimizer, loss)
        progress(step, steps, f"InfoNCE {float(loss.detach()):.2f}")
    return float(loss.detach())
