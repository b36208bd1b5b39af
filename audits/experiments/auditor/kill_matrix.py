"""The kill matrix: every planted leak and its clean twin against every probe."""

from __future__ import annotations

from typing import Any

from audits.auditor.audit import audit
from audits.evidence.experiment import Experiment, Options, Progress, RunSpec
from audits.experiments.reference import OTHER_IMPLEMENTATIONS
from audits.leaks._control import Twin
from audits.leaks._corpus import all_twins
from audits.results import AuditResult


def runs(options: Options) -> tuple[RunSpec, ...]:
    """One run a twin; the same at every tier."""
    del options
    return tuple(RunSpec("kill-matrix", {"twin": twin.name}, 0, f"leak {twin.name}") for twin in all_twins())


def execute(spec: RunSpec, options: Options, progress: Progress) -> dict[str, Any]:
    """Audit both sides of one twin."""
    twin = next(twin for twin in all_twins() if twin.name == spec.config["twin"])
    leaky = audit_side(twin, leaky=True, seed=spec.seed, device=options.device)
    progress(1, 2, "clean twin")
    clean = audit_side(twin, leaky=False, seed=spec.seed, device=options.device)
    return {
        "leak_class": str(twin.leak_class),
        "named": str(leaky.findings[0].leak_class) if leaky.findings else None,
        "mechanism": twin.mechanism,
        "origin": twin.origin,
        "leaky": _verdicts(leaky),
        "clean": _verdicts(clean),
        "forwards": {probe.name: probe.forwards for probe in clean.probes if probe.applicable},
    }


def audit_side(twin: Twin, *, leaky: bool, seed: int = 0, device: str = "cpu") -> AuditResult:
    """The audit of one side of a twin, as the matrix does it."""
    return audit(
        twin.leaky() if leaky else twin.clean(),
        input="features" if twin.width else "tokens",
        vocab_size=twin.vocab_size,
        width=twin.width,
        seq_len=twin.seq_len,
        seed=seed,
        device=device,
        target=f"audits.leaks.{twin.name}:{'leaky' if leaky else 'clean'}",
    )


def _verdicts(result: AuditResult) -> dict[str, str]:
    """Verdicts of the probes that had something to look at."""
    return {probe.name: str(probe.verdict) for probe in result.probes if probe.applicable}


EXPERIMENT = Experiment(
    "kill-matrix", runs, execute, not_hashed=OTHER_IMPLEMENTATIONS, not_compared=("mechanism", "origin", "forwards.*")
)
