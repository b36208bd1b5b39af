"""The attack on the published fix: a causal council mask does not help if the top-k is taken inside the chunk."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from audits.auditor.audit import audit
from audits.evidence.experiment import Experiment, Options, Progress, RunSpec
from audits.experiments.language_models._arm import SIZES, arm_of
from audits.experiments.language_models._doses import SELECTION
from audits.experiments.language_models._language_model import AUDITED, build, timeless
from audits.experiments.language_models.leak_dose import LAYERS
from audits.experiments.reference import OTHER_IMPLEMENTATIONS
from hubrouter.patterns import hub_gpt

VOCAB = 256


def runs(options: Options) -> tuple[RunSpec, ...]:
    """Random weights of three seeds; training is not needed for a leak to exist."""
    arm = SIZES[options.tier].arm(hub_gpt(LAYERS), routing=SELECTION)
    config = {"tier": options.tier, **asdict(arm)}
    return tuple(RunSpec("selection-attack", config, seed, f"selection attack, seed {seed}") for seed in range(3))


def execute(spec: RunSpec, options: Options, progress: Progress) -> dict[str, Any]:
    """Audit Hub-GPT with the published fix and selection inside the chunk."""
    progress(0, 1, "auditing")
    model = build(arm_of(spec.config), VOCAB, spec.seed)
    name = f"Hub-GPT with a causal council mask and selection inside the chunk, seed {spec.seed}"
    result = audit(model, seq_len=6 * spec.config["chunk"], seed=spec.seed, device=options.device, target=name)
    verdicts = {probe.name: str(probe.verdict) for probe in result.probes}
    return {
        "audit": timeless(result.to_dict()),
        "gradient": verdicts["gradient"],
        "perturbation": verdicts["perturbation"],
    }


EXPERIMENT = Experiment("selection-attack", runs, execute, not_hashed=OTHER_IMPLEMENTATIONS, not_compared=AUDITED)
