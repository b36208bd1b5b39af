"""The kill matrix: every planted leak and its clean control against every probe."""

from __future__ import annotations

from typing import Any

from audits.auditor.audit import audit
from audits.evidence.experiment import Experiment, Options, Progress, RunSpec
from audits.experiments.reference import OTHER_IMPLEMENTATIONS
from audits.leaks._corpus import all_leaks
from audits.leaks._planted import PlantedLeak
from audits.results import AuditResult


def runs(options: Options) -> tuple[RunSpec, ...]:
    """One run a leak; the same at every tier."""
    del options
    return tuple(RunSpec("kill-matrix", {"twin": leak.name}, 0, f"leak {leak.name}") for leak in all_leaks())


def execute(spec: RunSpec, options: Options, progress: Progress) -> dict[str, Any]:
    """Audit both sides of one leak."""
    leak = next(leak for leak in all_leaks() if leak.name == spec.config["twin"])
    leaky = audit_side(leak, leaky=True, seed=spec.seed, device=options.device)
    progress(1, 2, "clean control")
    clean = audit_side(leak, leaky=False, seed=spec.seed, device=options.device)
    return {
        "leak_class": str(leak.leak_class),
        "named": str(leaky.findings[0].leak_class) if leaky.findings else None,
        "mechanism": leak.mechanism,
        "origin": leak.origin,
        "leaky": _verdicts(leaky),
        "clean": _verdicts(clean),
        "forwards": {probe.name: probe.forwards for probe in clean.probes if probe.applicable},
    }


def audit_side(leak: PlantedLeak, *, leaky: bool, seed: int = 0, device: str = "cpu") -> AuditResult:
    """The audit of one side of a leak, as the matrix does it."""
    return audit(
        leak.leaky() if leaky else leak.clean(),
        input="features" if leak.width else "tokens",
        vocab_size=leak.vocab_size,
        width=leak.width,
        seq_len=leak.seq_len,
        seed=seed,
        device=device,
        target=f"audits.leaks.{leak.name}:{'leaky' if leaky else 'clean'}",
    )


def _verdicts(result: AuditResult) -> dict[str, str]:
    """Verdicts of the probes that had something to look at."""
    return {probe.name: str(probe.verdict) for probe in result.probes if probe.applicable}


EXPERIMENT = Experiment(
    "kill-matrix", runs, execute, not_hashed=OTHER_IMPLEMENTATIONS, not_compared=("mechanism", "origin", "forwards.*")
)
