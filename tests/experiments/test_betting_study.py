"""The study of betting: its runs are small, repeat themselves, and book what was proven and what was exceeded."""

import math
from dataclasses import replace
from typing import Any

import pytest

from audits.betting.config import BetConfig
from audits.evidence.experiment import Options, RunSpec
from audits.experiments.auditor import betting_study
from audits.experiments.auditor.betting_study import LEVELS, NAME, exceeded, execute, leak_test
from audits.leaks._corpus import all_leaks

LEAKS = {leak.name: leak for leak in all_leaks()}


def quiet(_done: int, _total: int, _note: str = "") -> None:
    """No progress is shown."""


def ran(seed: int = 100, **config: Any) -> dict[str, Any]:
    return execute(RunSpec(NAME, config, seed), Options(), quiet)


def test_a_level_is_exceeded_from_its_own_wealth_on() -> None:
    booked = exceeded([math.log(x) for x in (1.0, 2.0, 5.0, 9.9, 1000.0)])
    assert booked == {"tests": 5, "exceeded": {"0.5": 4, "0.2": 3, "0.1": 1, "0.05": 1, "0.01": 1, "0.001": 1}}


def test_tests_on_coins_follow_their_seed_and_no_level_is_exceeded_by_more_than_it_allows() -> None:
    first, again, other = (ran(seed, part="coins", deviation=1.0, tests=500) for seed in (100, 100, 101))
    assert first == again != other
    assert all(first["exceeded"][f"{level:g}"] <= 1.3 * level * 500 + 3 for level in LEVELS)
    assert first["exceeded"]["0.5"] > 20


def test_two_runs_of_models_share_no_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(betting_study, "MODEL_STEPS", 2)
    seen: list[int] = []
    run = betting_study.run_until_proof
    monkeypatch.setattr(
        betting_study, "run_until_proof", lambda p, c, settings: seen.append(settings.seed) or run(p, c, settings)
    )
    for seed in (100, 101):
        assert ran(seed, part="models", tests=3)["tests"] == 3
    assert len(set(seen)) == 6


def test_a_leak_is_proven_its_control_is_not_and_only_a_test_to_the_end_says_what_was_extracted() -> None:
    config = BetConfig(steps=30)
    short = leak_test(LEAKS["same_padding"], config, 100)
    assert short == {"leak_class": "dense", "proven_at": short["proven_at"]}
    whole = leak_test(LEAKS["same_padding"], replace(config, to_the_end=True), 100)
    assert whole["proven_at"] == short["proven_at"] <= 10
    assert whole["bits_per_token"] > 1
    assert whole["clean"]["proven_at"] is None
    assert 1 <= whole["clean"]["largest"] < 1000


def test_the_narrow_council_and_the_frozen_router_are_what_a_run_names(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, tuple[str, ...]]] = []
    monkeypatch.setattr(
        betting_study, "leak_test", lambda leak, config, _seed: asked.append((leak.leaky.__name__, config.freeze)) or {}
    )
    specs = [s for s in betting_study.runs(Options("full")) if s.config.get("leak") == betting_study.NARROW]
    for spec in specs:
        execute(spec, Options("full"), quiet)
    assert len(specs) == 6
    assert len(set(asked)) == 4
    assert sum(name == "narrow_leaky" for name, _ in asked) == 2


def test_every_leak_is_tested_with_each_seed_and_the_quick_tier_takes_seconds() -> None:
    full = betting_study.runs(Options("full"))
    tested = {(s.config["leak"], s.seed) for s in full if s.config["part"] == "leak"}
    assert tested == {(name, seed) for name in LEAKS for seed in (100, 101, 102)}
    assert not [s for s in betting_study.runs(Options("quick")) if s.config["part"] == "leak"]
    assert len({str((s.config, s.seed)) for s in full}) == len(full)
