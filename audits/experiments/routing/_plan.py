"""Which runs of the routing diagnostic there are: sizes, tasks, rows, seeds and learning rates of each tier.

Every mechanism has the same budget: one run at each of three learning rates, from a seed and on held-out questions that
nothing else uses, chooses the rate at which it is judged in every version of the task. What is judged, from how many
seeds and how long it is trained is fixed here, before any run. Nothing here decides what a run gives: all of it is part
of the run's configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from audits.evidence.experiment import Options, RunSpec
from audits.evidence.ledger import Evidence, Record
from audits.experiments.routing._rows import ROWS, Row, rows
from audits.experiments.routing._task import FAR, FEW, MANY, MQAR, MQAR_VALUE, PLAIN, SMALL, TASKS, VALUE, WIDE
from audits.experiments.training.tuning import best

NAME = "routing"
RATES = (1.6e-3, 4e-3, 1e-2)
MIDDLE = RATES[1]  # where no rate is chosen: no gradient, no verdict, or the quick tier
TUNING_SEED, FIRST_SEED = 900, 100
SEEDS, BANDIT_SEEDS = 3, 10  # bandits cost a second, and either find the key or do not
_CONTENT = tuple(
    row.name
    for row in ROWS.values()
    if row.representation == "raw" and row.router in ("investigator", "closed_loop", "bloom") and not row.backbone
)
_BANDITS = tuple(row.name for row in ROWS.values() if row.recipe == "bandit")
_MIXING = ("attention", "attention-causal", "global mean", "fourier")
_PERCEIVERS = ("perceiver, M = 16", "perceiver, M = 1")
# The base, `FAR`, is for every row. Of the other versions content goes furthest in `PLAIN`, so that a failure counts
# only with it, and least far in `MANY`, so that a success counts only with that one.
OTHER_TASKS = {
    FEW: ("raw", "raw, no positions", "bloom filter", *_BANDITS),
    MANY: (*_CONTENT, *_BANDITS, *_MIXING, *_PERCEIVERS, "attention, rank-1", "sparse", "hub scores"),
    PLAIN: (*_CONTENT, *_BANDITS, *_MIXING, *_PERCEIVERS),
    VALUE: (*_CONTENT, *_BANDITS, *_MIXING),
    MQAR: ("raw", "attention"),
    MQAR_VALUE: ("raw", "attention"),
    WIDE: ("raw", "raw, no positions", "attention"),
}
_SLOW = ("flow-causal", "flow", "flow, rank-1", "linear-attention scores", "segments-causal", "segments")
_LOADED = tuple(row.name for row in ROWS.values() if row.backbone.startswith("hf:"))
PAPER_TASKS = {  # for a GPU alone
    **dict.fromkeys((MANY, PLAIN, VALUE), (*_SLOW, "segments, maximum", *_LOADED)),
    **dict.fromkeys((MQAR, MQAR_VALUE), ("flow-causal",)),
}
# Rows that are trained so many times as long on `FAR` too: what may be said not to route, and how attention rises.
LONGER = {
    "perceiver, M = 16": 4,
    "perceiver, M = 1": 4,
    "segments, maximum": 4,
    "hub scores": 4,
    "attention": 4,
    **dict.fromkeys(_BANDITS, 4),
}
TRAINED_OUT = (4, 8)  # times as long on `SMALL`: whether the accuracy of one layer of attention still rises
QUICK: dict[str, tuple[str, ...]] = dict.fromkeys((FAR, PLAIN, VALUE), ("raw, no positions", "bloom filter"))


@dataclass(frozen=True)
class Size:
    """Sizes of one tier."""

    d_model: int
    n_heads: int
    steps: int
    batch: int
    every: int
    held_out: int


SIZES = {
    "quick": Size(64, 4, 300, 16, 50, 256),
    "full": Size(64, 4, 800, 16, 100, 512),
    "paper": Size(128, 4, 10_000, 32, 250, 1024),
}


@dataclass(frozen=True)
class Arm:
    """One mechanism on one task, trained `times` as long as usual: its seeds are judged together."""

    task: str
    name: str
    times: int = 1


def runs(options: Options) -> tuple[RunSpec, ...]:
    """The runs that choose learning rates, and those of rows whose rate is not chosen."""
    names = {arm.name for arm in arms(options.tier)}
    tuning = [spec for name in ROWS if name in names for spec in tuning_specs(options.tier, name)]
    return (*tuning, *_judged(options.tier, {name: MIDDLE for name in names if not tuned(options.tier, name)}))


def follow_up(options: Options, evidence: Evidence) -> tuple[RunSpec, ...]:
    """The judged runs of every row whose learning rate has been chosen."""
    chosen = {name: rate_of(options.tier, name, evidence) for name in ROWS if tuned(options.tier, name)}
    return _judged(options.tier, {name: rate for name, rate in chosen.items() if rate is not None})


def _judged(tier: str, rates: Mapping[str, float]) -> tuple[RunSpec, ...]:
    return tuple(spec for arm in arms(tier) if arm.name in rates for spec in judged_specs(tier, arm, rates[arm.name]))


def arms(tier: str) -> tuple[Arm, ...]:
    """All that is judged at a tier."""
    by_task = QUICK if tier == "quick" else {FAR: rows(tier), **OTHER_TASKS}
    if tier == "paper":
        by_task |= {task: (*by_task[task], *names) for task, names in PAPER_TASKS.items()}
    usual = [Arm(task, name) for task, names in by_task.items() if task in TASKS[tier] for name in names]
    longer = [Arm(FAR, name, times) for name, times in LONGER.items()]
    longer += [Arm(SMALL, "attention", times) for times in TRAINED_OUT]
    return tuple(usual if tier == "quick" else usual + longer)


def tuned(tier: str, name: str) -> bool:
    """Whether a rate is chosen: not without a gradient, nor for the model of bytes, which decides no claim."""
    row = ROWS[name]
    return tier != "quick" and row.recipe != "bandit" and row.router != "bloom" and row.backbone != "bytes"


def seeds(name: str) -> tuple[int, ...]:
    """The seeds of a judged row."""
    return tuple(range(FIRST_SEED, FIRST_SEED + (BANDIT_SEEDS if ROWS[name].recipe == "bandit" else SEEDS)))


def judged_specs(tier: str, arm: Arm, lr: float) -> tuple[RunSpec, ...]:
    """The runs of an arm at a learning rate."""
    return tuple(spec_of(tier, arm, seed, lr) for seed in seeds(arm.name))


def tuning_specs(tier: str, name: str) -> tuple[RunSpec, ...]:
    """The runs that choose the learning rate of a row: evaluated at the end alone, on questions of their own."""
    if not tuned(tier, name):
        return ()
    return tuple(spec_of(tier, Arm(FAR, name), TUNING_SEED, lr, asked="tuning") for lr in RATES)


def rate_of(tier: str, name: str, evidence: Evidence) -> float | None:
    """The rate of the highest precision, and among equals of the highest accuracy; None while a run is missing."""
    won = best(
        tuning_specs(tier, name), evidence, lambda record: (-record.result["precision"], -record.result["accuracy"])
    )
    return None if won is None else float(won["lr"])


def spec_of(tier: str, arm: Arm, seed: int, lr: float, *, asked: str = "judged") -> RunSpec:
    """One run."""
    row, size = ROWS[arm.name], asdict(SIZES[tier])
    size["steps"] *= arm.times
    size["every"] = size["steps"] if asked == "tuning" else size["every"]
    config = {"tier": tier, "task": arm.task, **asdict(TASKS[tier][arm.task]), **asdict(row), **size}
    longer = f", {arm.times} times as long" if arm.times > 1 else ""
    label = f"{row.name} on {arm.task}, {asked}, seed {seed}, rate {lr:g}{longer}"
    return RunSpec(NAME, config | {"lr": lr, "asked": asked}, seed, label)


def row_of(record: Record) -> Row:
    """The row of a run."""
    return ROWS[str(record.config["name"])]
