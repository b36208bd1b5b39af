"""The routing diagnostic, several times as long: before a mechanism is said not to route, it is given more training."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from audits.evidence.experiment import Experiment, Options, Progress, RunSpec
from audits.experiments.reference import OTHER_IMPLEMENTATIONS
from audits.experiments.routing._bandit import learn
from audits.experiments.routing._plan import MIDDLE, SIZES, spec_of
from audits.experiments.routing._rows import ROWS, Row
from audits.experiments.routing._task import FAR, TASKS
from audits.experiments.routing._train import Recipe, train
from audits.experiments.routing.diagnostic import PLAN, diagnostic_config, outcome, untrained_model

NAME, TIMES = "routing-long", 4
LONG = (
    "flow, rank-1",
    "perceiver, M = 16",
    "perceiver, M = 1",
    "segments-causal",
    "segments",
    "segments, maximum",
    "linear-attention scores",
    "LinUCB",
    "Thompson",
    "OFUL",
    "frozen language model",
    "hub scores",
    "hub layer",
)


def runs(options: Options) -> tuple[RunSpec, ...]:
    """The first seed at the middle rate, of the mechanisms that a claim may say do not route."""
    return () if options.tier == "quick" else tuple(long_spec(options.tier, ROWS[name]) for name in LONG)


def long_spec(tier: str, row: Row) -> RunSpec:
    """The long run of a row, evaluated as often as the usual one."""
    usual = spec_of(tier, FAR, row, 0, MIDDLE)
    config = usual.config | {key: TIMES * usual.config[key] for key in ("steps", "every")}
    return replace(usual, experiment=NAME, config=config, label=f"{usual.label}, {TIMES} times as long")


def execute(spec: RunSpec, options: Options, progress: Progress) -> dict[str, Any]:
    """Train and measure as `routing` does, for as many steps as the configuration says."""
    row, task, size = ROWS[str(spec.config["name"])], TASKS[options.tier][FAR], SIZES[options.tier]
    recipe = Recipe(*(spec.config[name] for name in ("steps", "batch", "lr", "every", "held_out")))
    if row.recipe == "bandit":
        curve = learn(row.router, size.d_model, task, recipe, row.budget, spec.seed, progress)
        return outcome(curve, recipe, {"parameters": size.d_model})
    model, extra = untrained_model(row, diagnostic_config(row, task, size, spec.seed), spec.seed, progress)
    model.to(options.device)
    return outcome(train(model, task, recipe, spec.seed, progress, options.device), recipe, extra)


EXPERIMENT = Experiment(NAME, runs, execute, not_hashed=(*PLAN, *OTHER_IMPLEMENTATIONS))
