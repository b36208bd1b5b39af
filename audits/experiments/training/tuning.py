"""The choice among tuning runs, the same for every study."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from audits.evidence.experiment import RunSpec
from audits.evidence.ledger import Evidence, Record


def best(specs: Sequence[RunSpec], evidence: Evidence, loss: Callable[[Record], Any | None]) -> dict[str, Any] | None:
    """The configuration of the lowest loss, the middle one where all failed; None while one is missing or none asked.

    Args:
        specs: the tuning runs, in the order of their rates.
        evidence: that may hold them.
        loss: of a run, in values that compare; None where it diverged.
    """
    made = [evidence.answer(spec.experiment, spec.config, spec.seed) for spec in specs]
    records = [record for record in made if record is not None]
    if not specs or len(records) < len(specs):
        return None
    losses = [(found, record) for record in records if (found := loss(record)) is not None]
    return min(losses, key=lambda pair: pair[0])[1].config if losses else records[len(records) // 2].config
