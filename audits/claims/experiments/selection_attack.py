"""The attack on the published fix: a causal council mask does not help if the top-k is taken inside the chunk."""

from __future__ import annotations

from typing import Any

from audits.auditor import audit
from audits.claims.experiments.leak_worth import TIERS, build, timeless
from audits.experiment import Experiment, Options, Progress, RunSpec

VOCAB = 256


def runs(options: Options) -> tuple[RunSpec, ...]:
    """Random weights of three seeds; training is not needed for a leak to exist."""
    size = TIERS[options.tier]
    config = {"pattern": size.pattern, "d_model": size.d_model, "chunk": size.chunk, "k": size.k, "hubs": size.n_hubs}
    return tuple(RunSpec("selection-attack", config, seed, f"selection attack, seed {seed}") for seed in range(3))


def execute(spec: RunSpec, options: Options, progress: Progress) -> dict[str, Any]:
    """Audit Hub-GPT with the published fix and selection inside the chunk."""
    progress(0, 1, "auditing")
    size = TIERS[options.tier]
    model = build("selection", size.model(VOCAB), spec.seed)
    name = f"Hub-GPT with a causal council mask and selection inside the chunk, seed {spec.seed}"
    result = audit(model, seq_len=6 * size.chunk, seed=spec.seed, device=options.device, target=name)
    verdicts = {probe.name: str(probe.verdict) for probe in result.probes}
    return {
        "audit": timeless(result.to_dict()),
        "gradient": verdicts["gradient"],
        "perturbation": verdicts["perturbation"],
    }


EXPERIMENT = Experiment("selection-attack", runs, execute)
