"""The code that defines an experiment's runs: part of the address of each run in the ledger."""

from __future__ import annotations

from collections.abc import Callable

from audits.evidence.code_hash import code_hash
from audits.evidence.experiment import Experiment

INTERFACE = "audits.evidence.experiment"


def code_of(experiment: Experiment) -> str:
    """Today's hash of the code that defines an experiment's runs."""
    return code_behind(experiment.execute, experiment.not_hashed)


def code_behind(execute: Callable[..., object], not_hashed: tuple[str, ...]) -> str:
    """Today's hash of the code behind a function that executes runs, without the modules of `not_hashed`.

    How runs are specified and how they report progress is no part of it either.
    """
    return code_hash((execute,), (*not_hashed, INTERFACE))
