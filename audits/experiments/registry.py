"""All experiments, found by looking into the folders of their families, and the code of each kind of run."""

from __future__ import annotations

from collections.abc import Mapping

from audits.discovery import modules_in
from audits.evidence.code_hash import code_of
from audits.evidence.experiment import Experiment


def all_experiments() -> tuple[Experiment, ...]:
    """Every experiment: one file each in a family's folder in `audits/experiments`, by name."""
    import audits.experiments.auditor as auditor
    import audits.experiments.bench as bench
    import audits.experiments.calibration as calibration
    import audits.experiments.language_models as language_models
    import audits.experiments.routing as routing

    modules = modules_in(auditor, bench, calibration, language_models, routing)
    return tuple(sorted((module.EXPERIMENT for module in modules), key=lambda experiment: experiment.name))


def todays_code() -> Mapping[str, str]:
    """The code hash of every kind of run, by its name in the ledger.

    Raises:
        ValueError: two studies of one kind are executed by different code.
    """
    codes: dict[str, str] = {}
    for experiment in all_experiments():
        if codes.setdefault(experiment.recorded_as, code_of(experiment)) != code_of(experiment):
            raise ValueError(f"studies of kind {experiment.recorded_as} differ in the code that executes them")
    return codes
