"""The clock of all experiments: what counts, in which order, and what is foreseen to take too long."""

from __future__ import annotations

import time

import pytest
import torch

from audits.experiments.bench import _timing as timing
from audits.experiments.bench._memory import peak_bytes


def quiet(_done: int, _total: int, _note: str = "") -> None:
    """No progress is shown."""


def test_each_round_begins_with_another_subject_and_the_first_does_not_count() -> None:
    order: list[str] = []

    def step(name: str) -> float:
        order.append(name)
        return float(len(order))

    times = timing.in_turns({"a": lambda: step("a"), "b": lambda: step("b")}, 2, quiet)
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert times == {"a": (4.0, 5.0), "b": (3.0, 6.0)}


def test_without_subjects_there_are_no_times() -> None:
    assert timing.in_turns({}, 3, quiet) == {}


def test_the_clock_runs_while_the_action_does_and_not_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def action() -> None:
        now[0] += 2.5

    assert timing.seconds_of(action, "cpu") == 2.5


@pytest.mark.parametrize(
    ("times", "predicted"),
    [
        ((0.1, 0.2, 0.4), 1.6),  # linear
        ((0.2, 0.6, 2.0), 0.1 * 16 + 0.1 * 256),  # 0.1 n + 0.1 n^2
        ((0.4,), 6.4),  # one length alone: linear, the least it can be
        ((0.2, 0.2, 0.2), 0.8),  # less than linear is taken for linear
    ],
)
def test_predictions_follow_linear_and_quadratic_growth(times: tuple[float, ...], predicted: float) -> None:
    lengths = (1, 2, 4)[: len(times)]
    assert timing.extrapolated(lengths, times, 16) == pytest.approx(predicted)


def test_a_step_that_is_foreseen_to_be_too_slow_is_given_up_at_the_first_length_that_says_so() -> None:
    tried: list[int] = []

    def seconds(n: int) -> float:
        tried.append(n)
        return 0.01 * n

    found = timing.outlook(seconds, 1600, limit=1.0)
    assert found.not_run == "predicted 16 s a step, more than 1 s"
    assert set(tried) == {100}  # warmed up, tried, tried once more; the whole length never


def test_a_short_disturbance_does_not_exclude_a_fast_step() -> None:
    taken = iter([9.0, 0.01, 5.0, 0.02, 0.04])  # warm-up; n / 16; n / 8 disturbed, once more; n / 4
    assert timing.outlook(lambda _n: next(taken), 160, limit=1.0).not_run is None


def test_the_peak_is_what_is_held_at_once_and_not_what_is_allocated_in_all() -> None:
    kept = torch.ones(1000)  # there before, so not counted

    def one_after_the_other() -> None:
        for _ in range(5):
            torch.empty(250_000)

    def together() -> list[torch.Tensor]:
        return [kept + 1, torch.empty(250_000), torch.empty(250_000)]

    assert peak_bytes(one_after_the_other, "cpu") == 1_000_000
    assert peak_bytes(together, "cpu") == 2_004_000
