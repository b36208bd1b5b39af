"""The code that defines an experiment's runs: part of the address of each run in the ledger."""

from __future__ import annotations

from collections.abc import Callable

from audits.evidence.code_hash import code_hash
from audits.evidence.experiment import Experiment

INTERFACE = "audits.evidence.experiment"


def code_of(experiment: Experiment) -> str:
    """Today's hash of the code that defines an experiment's runs."""
    return code_behind(experiment.execute, experiment.beside)


def code_behind(execute: Callable[..., object], beside: tuple[str, ...]) -> str:
    """Today's hash of the code behind a function that carries out runs, without the modules `beside` it.

    How runs are asked for and how they tell their progress is no part of it either.
    """
    return code_hash((execute,), (*beside, INTERFACE))
