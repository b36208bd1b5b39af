"""More seeds of the long runs of the routing diagnostic, where the first one routes and the usual length does not."""

from __future__ import annotations

from dataclasses import replace

from audits.evidence.experiment import Experiment, Options, RunSpec
from audits.experiments.reference import OTHER_IMPLEMENTATIONS
from audits.experiments.routing._rows import ROWS
from audits.experiments.routing.diagnostic import PLAN
from audits.experiments.routing.long import NAME, execute, long_spec

SEEDS = {"segments, maximum": 3, "linear-attention scores": 3}


def runs(options: Options) -> tuple[RunSpec, ...]:
    """The seeds after the first."""
    if options.tier == "quick":
        return ()
    return tuple(spec for name in SEEDS for spec in long_specs(options.tier, name)[1:])


def long_specs(tier: str, name: str) -> tuple[RunSpec, ...]:
    """All long runs of a row."""
    first = long_spec(tier, ROWS[name])
    return tuple(
        replace(first, seed=seed, label=first.label.replace("seed 0", f"seed {seed}"))
        for seed in range(SEEDS.get(name, 1))
    )


EXPERIMENT = Experiment("routing-long-seeds", runs, execute, kind=NAME, not_hashed=(*PLAN, *OTHER_IMPLEMENTATIONS))
