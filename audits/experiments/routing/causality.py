"""The auditor's verdict on every representation of the routing diagnostic: which of them read the future.

Weights are untrained: whether a representation can see later tokens does not hang on training.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from audits.auditor.audit import audit
from audits.evidence.experiment import Experiment, Options, Progress, RunSpec
from audits.experiments.reference import OTHER_IMPLEMENTATIONS
from audits.experiments.routing._rows import ROWS, Row
from hubrouter.diagnostic.config import DiagnosticConfig, representation

NAME = "routing-causality"
VOCAB, LENGTH, WIDTH, HEADS = 64, 48, 32, 4


def runs(options: Options) -> tuple[RunSpec, ...]:  # noqa: ARG001
    """Each different representation once; the same at every tier."""
    return tuple({(spec := spec_of(row)).label: spec for row in ROWS.values()}.values())


def spec_of(row: Row) -> RunSpec:
    """The audit of a row's representation; rows that share one share the audit."""
    kept = {key: getattr(row, key) for key in ("representation", "causal", "layers", "hubs")}
    size = {"vocab_size": VOCAB, "length": LENGTH, "d_model": WIDTH, "n_heads": HEADS}
    named = f"{row.representation} (causal={row.causal}, layers={row.layers}, hubs={row.hubs})"
    return RunSpec(NAME, size | kept, 0, f"audit of the representation {named}")


def execute(spec: RunSpec, options: Options, progress: Progress) -> dict[str, Any]:
    """Audit an embedding with the representation above it."""
    progress(0, 1, "auditing")
    name = str(spec.config["representation"])
    sizes = {key: value for key, value in spec.config.items() if key != "representation"}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.seed)
        model = nn.Sequential(nn.Embedding(VOCAB, WIDTH), representation(name).build(DiagnosticConfig(**sizes))).eval()
    found = audit(model, seq_len=LENGTH, seed=spec.seed, device=options.device, target=spec.label)
    return {
        "verdict": str(found.verdict),
        "classes": sorted({str(finding.leak_class) for finding in found.findings}),
        "undecided": [
            probe.name for probe in found.probes if probe.applicable and str(probe.verdict) == "UNDETERMINED"
        ],
    }


PLAN = ("audits.experiments.routing._rows",)
EXPERIMENT = Experiment(NAME, runs, execute, not_hashed=(*PLAN, *OTHER_IMPLEMENTATIONS))
