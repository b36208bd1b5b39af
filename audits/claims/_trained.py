"""What the claims read from the training runs: paired arms, their losses, and the audits of the trained weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from audits.ledger import Evidence, Record

EXPERIMENT = "leak-worth"
SEEDS = 3  # the pre-registered number of paired seeds, at least


@dataclass(frozen=True)
class Trained:
    """One trained model: its losses in nats per token (None where not finite) and the audit of its weights."""

    seed: int
    run: str
    valid_nats: float | None
    clean_mask_nats: float | None
    diverged: bool
    verdict: str
    findings: tuple[dict[str, Any], ...]


def trained(evidence: Evidence, arm: str) -> tuple[Trained, ...]:
    """The trained models of an arm in the setting of the last run, by seed."""
    records = [r for r in evidence.latest(EXPERIMENT, varied="arm") if r.config["arm"] == arm]
    return tuple(sorted((_trained(record) for record in records), key=lambda model: model.seed))


def setting_text(evidence: Evidence) -> str:
    """The scale of the runs in a few words."""
    records = evidence.latest(EXPERIMENT, varied="arm")
    if not records:
        return "no runs"
    c = records[0].config
    size = f"{len(str(c['pattern']))} layers, width {c['d_model']}, C = {c['chunk']}, {c['steps']} steps"
    return f"small scale ({size}, on {c['corpus']['name']})"


def _trained(record: Record) -> Trained:
    audit = record.result["audit"]
    return Trained(
        record.seed,
        record.run,
        record.result["valid_nats"],
        record.result["clean_mask_nats"],
        record.result["diverged"],
        str(audit["verdict"]),
        tuple(audit["findings"]),
    )
