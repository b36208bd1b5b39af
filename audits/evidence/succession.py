"""Earlier code whose runs count as made by today's: which code succeeded which, and by what it was shown.

A succession is a record like any other, in the ledger's `succession.jsonl`. It says of one experiment that what code
`from` gave, code `to` gives too: shown by a sample of repeated runs (`audits.evidence.recheck`), or by computing two
kinds of hash on one commit. It holds only where nothing differed. Records of runs are never rewritten.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from audits.evidence.ledger import Evidence, Record

KIND = "succession"


def config_of(experiment: str, before: str, now: str) -> dict[str, Any]:
    """What a succession is about, as its record's configuration."""
    return {"experiment": experiment, "from": before, "to": now}


def accepted(evidence: Evidence, today: Mapping[str, str]) -> Mapping[str, frozenset[str]]:
    """Of every experiment the hashes of code that counts as today's: its own, and what it succeeded.

    Args:
        evidence: the whole ledger.
        today: today's code hash of each experiment.
    """
    codes = {name: {code} for name, code in today.items()}
    links = [link.config for link in successions(evidence) if link.result["holds"]]
    grown = True
    while grown:
        grown = False
        for link in links:
            known = codes.get(link["experiment"], set())
            if link["to"] in known and link["from"] not in known:
                known.add(link["from"])
                grown = True
    return {name: frozenset(known) for name, known in codes.items()}


def successions(evidence: Evidence) -> tuple[Record, ...]:
    """All successions on record, in the order of their hashes."""
    return evidence.of(KIND)


def rechecked(evidence: Evidence, experiment: str, before: str, now: str) -> Record | None:
    """The succession of one code by another; None where none is on record."""
    wanted = config_of(experiment, before, now)
    return next((record for record in successions(evidence) if record.config == wanted), None)
