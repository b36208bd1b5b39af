"""The routing diagnostic: every mechanism of the companion paper on its tasks, at small scale on a CPU.

A run trains one mechanism on one task from one seed at one learning rate, and records the curve of held-out precision
and accuracy. `_plan` says which runs there are. All sizes are ours: the paper prints d = 128, 8000 sequences, 40 epochs
of batches of 32.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from torch import nn

from audits.evidence.experiment import Experiment, Options, Progress, RunSpec
from audits.experiments.reference import OTHER_IMPLEMENTATIONS
from audits.experiments.routing._backbone import load_backbone, train_backbone
from audits.experiments.routing._bandit import learn
from audits.experiments.routing._contrast import pretrain
from audits.experiments.routing._plan import NAME, SIZES, Size, follow_up, runs
from audits.experiments.routing._rows import ROWS, Row
from audits.experiments.routing._task import TASKS, Questions
from audits.experiments.routing._train import Recipe, representation_measures, train
from audits.experiments.training.seeds import stream
from audits.subject.randomness import pinned
from hubrouter.diagnostic.config import DiagnosticConfig, representation, router
from hubrouter.diagnostic.model import RoutedModel, parameters_of
from hubrouter.diagnostic.router import Router


def execute(spec: RunSpec, options: Options, progress: Progress) -> dict[str, Any]:
    """Train and measure; divergence is an outcome that is recorded."""
    row, task = ROWS[str(spec.config["name"])], TASKS[options.tier][str(spec.config["task"])]
    size = SIZES[options.tier]
    recipe = Recipe(*(spec.config[name] for name in ("steps", "batch", "lr", "every", "held_out", "asked")))
    if row.recipe == "bandit":
        curve = learn(row.router, size.d_model, task, recipe, row.budget, spec.seed, progress)
        return outcome(curve, recipe, {"parameters": size.d_model})
    config = diagnostic_config(row, task, size, spec.seed)
    model, extra = untrained_model(row, config, spec.seed, progress)
    model.to(options.device)
    if row.recipe.startswith("infonce"):
        extra["infonce"] = pretrain(model, task, recipe, spec.seed, progress, options.device)
        model.router.requires_grad_(row.recipe == "infonce-tuned")
    curve = train(model, task, recipe, spec.seed, progress, options.device)
    measured = representation_measures(model, task, recipe, options.device) if recipe.asked == "judged" else {}
    return outcome(curve, recipe, extra | measured)


def diagnostic_config(row: Row, task: Questions, size: Size, seed: int) -> DiagnosticConfig:
    """The sizes of a row's model on a task."""
    width, heads = size.d_model, size.n_heads
    config = DiagnosticConfig(task.vocab_size, task.length, width, heads, row.layers, row.causal, row.hubs)
    return replace(config, seed=seed, positions=row.positions)


def untrained_model(
    row: Row, config: DiagnosticConfig, seed: int, progress: Progress
) -> tuple[RoutedModel, dict[str, Any]]:
    """The untrained model; the same seed gives the same weights, part by part, whatever the other parts are."""
    extra: dict[str, Any] = {}
    embedding: nn.Module | None = None
    if row.backbone.startswith("hf:"):
        embedding = load_backbone(row.backbone.removeprefix("hf:"), config, seed)
    elif row.backbone:
        embedding, extra["backbone_nats"] = train_backbone(config, seed, progress)
    with pinned(stream(seed, "router")):
        routing = router(row.router).build(config)
        assert isinstance(routing, Router)
    with pinned(stream(seed, "representation")):
        below = representation(row.representation).build(config)
    with pinned(stream(seed, "weights")):
        model = RoutedModel(config, below, routing, embedding)
    return model, extra | {"parameters": parameters_of(model)}


def outcome(curve: list[dict[str, float]], recipe: Recipe, more: dict[str, Any]) -> dict[str, Any]:
    """The curve by columns, its last point, and whether the run was cut short by a loss that was not finite."""
    last = curve[-1]
    columns = {name: [point[name] for point in curve] for name in ("step", "precision", "accuracy")}
    return {
        **{name: last[name] for name in ("precision", "accuracy", "chance", "share")},
        "rank": last["rank"] if math.isfinite(last["rank"]) else None,
        "curve": columns,
        "diverged": last["step"] < recipe.steps,
        **more,
    }


# What these two determine of a run is part of its configuration.
PLAN = ("audits.experiments.routing._plan", "audits.experiments.routing._rows")
EXPERIMENT = Experiment(NAME, runs, execute, follow_up=follow_up, not_hashed=(*PLAN, *OTHER_IMPLEMENTATIONS))
