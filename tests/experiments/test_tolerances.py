"""What may be re-checked on another machine: numbers that hang on no machine, or on its last digits alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from audits.evidence.experiment import Experiment
from audits.evidence.ledger import Ledger
from audits.experiments.registry import all_experiments

EVIDENCE = Ledger(Path(__file__).parents[2] / "reports" / "evidence").read()
STATED = [experiment for experiment in all_experiments() if experiment.tolerance is not None]


def numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from numbers(each)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


@pytest.mark.parametrize("experiment", STATED, ids=lambda experiment: experiment.name)
def test_a_tolerance_hides_no_difference_between_counts(experiment: Experiment) -> None:
    found = [n for record in EVIDENCE.of(experiment.recorded_as) for n in numbers(record.result)]
    assert found
    assert experiment.tolerance is not None
    measures = any(isinstance(number, float) for number in found)
    assert experiment.tolerance < (0.05 if measures else 1e-6)
