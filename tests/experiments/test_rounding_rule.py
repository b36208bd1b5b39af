"""The study of the rounding rule: its draws differ, and they count what the audit says."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from audits.evidence.experiment import Options, RunSpec
from audits.experiments.auditor._rounding_heavy import FUTURE, LENGTH, MIXERS, STREAM, rounding_heavy
from audits.experiments.auditor.rounding_rule import NAME, execute, runs


def verdicts(model: str, kind: str, size: float, draws: int = 2) -> dict[str, int]:
    config = {"model": model, "kind": kind, "size": size, "draws": draws}
    found: dict[str, Any] = execute(RunSpec(NAME, config, 7), Options(), lambda *_: None)
    return dict(found["verdicts"])


def test_tier_full_draws_thousands_of_causal_models_and_of_leaky_ones() -> None:
    draws = [(spec.config["size"] > 0, spec.config["draws"]) for spec in runs(Options(tier="full"))]
    assert sum(count for leaky, count in draws if not leaky) >= 2000
    assert sum(count for leaky, count in draws if leaky) >= 2000


@pytest.mark.parametrize("name", MIXERS)
def test_every_model_is_causal_and_its_leaks_are_none(name: str) -> None:
    inputs = torch.randint(24, (1, 20), generator=torch.Generator().manual_seed(0))
    others = torch.cat([inputs[:, :12], (inputs[:, 12:] + 1) % 24], 1)
    for size, moves in ((0.0, False), (1e-2, True)):
        model = rounding_heavy(name, 1, FUTURE, size).double()
        with torch.no_grad():
            change = float((model(inputs) - model(others))[:, :12].abs().max())
        assert (change > 1e-4) is moves
        assert change > 1e-4 or change < 1e-6


@pytest.mark.parametrize("name", ["running deviation", "convolution by FFT, norm in float32", "tables from the end"])
def test_rounding_is_no_leak(name: str) -> None:
    assert verdicts(name, FUTURE, 0.0) == {"PASS": 2}


@pytest.mark.parametrize(
    ("name", "kind", "size"),
    [("attention by distance", FUTURE, 1e-9), ("scan", LENGTH, 1e-9), ("decay tables", STREAM, 1e-2)],
)
def test_faint_leaks_are_found(name: str, kind: str, size: float) -> None:
    assert verdicts(name, kind, size) == {"LEAK": 2}
