"""Which runs of the routing diagnostic there are: sizes, tasks, rows, seeds and learning rates of each tier.

Nothing here decides what a run gives: all of it is part of the run's configuration.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from audits.evidence.experiment import Options, RunSpec
from audits.experiments.routing._rows import ROWS, Row, rows
from audits.experiments.routing._task import FAR, MQAR, NEAR, PLAIN, TASKS
from audits.experiments.routing._train import Recipe

NAME = "routing"
RATES = (1e-3, 3e-3, 1e-2)  # the sweep of the first seed
MIDDLE = RATES[1]
# Tasks other than the far one are for the rows whose numbers the paper prints there, and for those that attack them.
OTHER_TASKS = {
    PLAIN: ("raw", "attention", "attention-causal", "cosine", "InfoNCE, frozen", "LinUCB", "bloom filter"),
    MQAR: ("raw", "flow-causal", "attention", "attention-causal", "hub scores", "perceiver, M = 16"),
    NEAR: ("raw", "attention-causal", "attention, 4 layers"),
}
# More seeds than usual where the mean is near a threshold, or where seeds are far apart.
MORE_SEEDS = {
    "attention-causal": 5,
    "flow": 5,
    "linear-attention scores": 5,
    "segments, maximum": 5,
    "LinUCB": 12,
    "Thompson": 12,
    "OFUL": 12,
}
QUICK: dict[str, tuple[str, ...]] = dict.fromkeys((FAR, PLAIN), ("raw", "bloom filter"))


@dataclass(frozen=True)
class Size:
    """Sizes of one tier."""

    d_model: int
    n_heads: int
    steps: int
    batch: int
    every: int
    held_out: int
    seeds: int

    def recipe(self, lr: float) -> Recipe:
        """Training at this size."""
        return Recipe(self.steps, self.batch, lr, self.every, self.held_out)


SIZES = {
    "quick": Size(64, 4, 300, 32, 50, 256, 3),
    "full": Size(64, 4, 800, 32, 50, 512, 3),
    "paper": Size(128, 4, 10_000, 32, 250, 1024, 3),
}


def runs(options: Options) -> tuple[RunSpec, ...]:
    """Rows, tasks, seeds and learning rates of a tier."""
    return tuple(
        spec_of(options.tier, task, ROWS[name], seed, lr)
        for task, names in cells(options.tier).items()
        for name in names
        for seed in range(seeds(options.tier, name))
        for lr in rates(options.tier, ROWS[name], seed)
    )


def cells(tier: str) -> dict[str, tuple[str, ...]]:
    """The rows of each task."""
    return QUICK if tier == "quick" else {FAR: rows(tier), **OTHER_TASKS}


def seeds(tier: str, name: str) -> int:
    """The seeds of a row."""
    return SIZES[tier].seeds if tier == "quick" else max(SIZES[tier].seeds, MORE_SEEDS.get(name, 0))


def rates(tier: str, row: Row, seed: int) -> tuple[float, ...]:
    """The learning rates of one seed; what has no gradient has none to sweep."""
    swept = seed == 0 and tier != "quick" and row.recipe != "bandit" and row.router != "bloom"
    return RATES if swept else (MIDDLE,)


def spec_of(tier: str, task: str, row: Row, seed: int, lr: float) -> RunSpec:
    size = {key: value for key, value in asdict(SIZES[tier]).items() if key != "seeds"}
    config = {"tier": tier, "task": task, **asdict(TASKS[tier][task]), **asdict(row), **size, "lr": lr}
    return RunSpec(NAME, config, seed, f"{row.name} on {task}, seed {seed}, rate {lr:g}")
