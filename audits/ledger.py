"""The evidence ledger: append-only JSON Lines, one finished run a line, addressed by the hash of what defines it."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SCHEMA = 1


def run_hash(experiment: str, config: dict[str, Any], seed: int) -> str:
    """The address of a run: SHA-256 over experiment, configuration and seed, its first 16 hex digits."""
    text = json.dumps({"experiment": experiment, "config": config, "seed": seed}, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Record:
    """One finished run. `result` is what the experiment returned; `environment` tells machine and versions."""

    experiment: str
    config: dict[str, Any]
    seed: int
    result: dict[str, Any]
    environment: dict[str, Any]
    seconds: float

    @property
    def run(self) -> str:
        """The run's address."""
        return run_hash(self.experiment, self.config, self.seed)

    def to_line(self) -> str:
        """The record as one line of the ledger."""
        return json.dumps({"schema": SCHEMA, "run": self.run, **asdict(self)}, sort_keys=True, allow_nan=False) + "\n"


@dataclass(frozen=True)
class Evidence:
    """All records a judgement may read, the latest record of a run replacing earlier ones."""

    records: tuple[Record, ...] = ()

    def of(self, experiment: str) -> tuple[Record, ...]:
        """The records of one experiment, in the order of their hashes, so that reports do not depend on timing."""
        return tuple(sorted((r for r in self.records if r.experiment == experiment), key=lambda r: r.run))


class LedgerError(Exception):
    """The ledger cannot be read or written; the message says where and how to mend it."""
