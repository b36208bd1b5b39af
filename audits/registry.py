"""All experiments, found by looking into their folder, and the code that defines each."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from functools import partial

from audits.code_hash import code_hash
from audits.experiment import Experiment

INTERFACE = "audits.experiment"


def all_experiments() -> tuple[Experiment, ...]:
    """Every experiment: one file each in `audits/claims/experiments`, by name."""
    import audits.claims.experiments as package

    names = sorted(m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_"))
    return tuple(importlib.import_module(f"audits.claims.experiments.{name}").EXPERIMENT for name in names)


def code_of(experiment: Experiment) -> str:
    """Today's hash of the code that defines an experiment's runs."""
    return code_behind(experiment.execute, experiment.beside)


def code_behind(execute: Callable[..., object], beside: tuple[str, ...]) -> str:
    """Today's hash of the code behind a function that carries out runs, without the modules `beside` it.

    How runs are asked for and how they tell their progress is no part of it either.
    """
    function = execute.func if isinstance(execute, partial) else execute
    return code_hash((function.__module__,), (*beside, INTERFACE))


def todays_code() -> Mapping[str, str]:
    """The code hash of every kind of run, by its name in the ledger.

    Raises:
        ValueError: two studies of one kind are carried out by different code.
    """
    codes: dict[str, str] = {}
    for experiment in all_experiments():
        if codes.setdefault(experiment.recorded_as, code_of(experiment)) != code_of(experiment):
            raise ValueError(f"studies of kind {experiment.recorded_as} differ in the code that carries them out")
    return codes
