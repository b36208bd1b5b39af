"""Which layers a run times: what is refused, too slow, too large or out of time is recorded with its reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from torch import nn

from audits.experiments.bench import _admission as _bench_admission
from audits.experiments.bench._admission import Admission, Limits, reason
from audits.experiments.bench._layers import Entry
from hubrouter.config import ConfigError

LIMITS = Limits(step=1.0, budget=100.0, memory=1e9, rounds=3, compiles=True)


class FakeStep:
    """A step that takes so many seconds and bytes a token; the clock of the test goes on by them."""

    tokens = 1

    def __init__(self, now: list[float], n: int, seconds: float, size: float, log: list[int]) -> None:
        self.now, self.n, self.taken, self.size, self.log = now, n, seconds, size, log

    def seconds(self) -> float:
        self.log.append(self.n)
        self.now[0] += self.taken * self.n
        return self.taken * self.n

    def peak(self) -> int:
        self.log.append(self.n)
        return int(self.size * self.n)


def entry(name: str = "some/how", **more: Any) -> Entry:
    layer, _, impl = name.partition("/")
    return Entry(layer, impl, nn.Identity, None, **more)


class Bench:
    """An admission over fake steps, with all lengths that were carried out."""

    def __init__(self, limits: Limits = LIMITS, *, grows: bool = True, **a_token: tuple[float, float]) -> None:
        self.now, self.log = [0.0], list[int]()
        self.a_token = a_token
        self.admission = Admission(limits, self.make, 64, grows=grows, clock=lambda: self.now[0])

    def make(self, chosen: Entry, n: int) -> Any:
        seconds, size = self.a_token[chosen.layer]
        return FakeStep(self.now, n, seconds, size, self.log)


def test_a_layer_within_all_limits_is_admitted_with_its_peak() -> None:
    admitted = Bench(some=(0.001, 10.0)).admission.decide(entry())
    assert admitted.not_run is None
    assert admitted.step is not None
    assert admitted.peak == 640
    assert admitted.predicted == pytest.approx(0.064)


def test_a_graph_that_grows_with_the_length_is_not_compiled_at_a_long_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_bench_admission, "UNROLLED", 63)
    bench = Bench(some=(0.001, 10.0))
    why = bench.admission.decide(entry(compiled=True, unrolled=True)).not_run
    assert why == "its graph grows with the length and is not compiled beyond 63 tokens"
    assert bench.log == []
    monkeypatch.setattr(_bench_admission, "UNROLLED", 64)
    assert bench.admission.decide(entry(compiled=True, unrolled=True)).not_run is None


def test_nothing_is_tried_any_more_once_the_budget_is_over() -> None:
    bench = Bench(some=(0.001, 10.0))
    bench.now[0] = LIMITS.budget
    assert bench.admission.decide(entry(compiled=True)).not_run == "nothing is left of the run's 100 s"
    assert bench.log == []


def test_the_memory_of_a_loop_over_tokens_is_read_at_a_short_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_bench_admission, "PROFILED", 8)
    bench = Bench(some=(0.001, 10.0))
    assert bench.admission.decide(entry(by_token=True)).peak == 640
    assert bench.log[-2:] == [8, 8]  # whether it fits, and its peak


def test_a_step_that_is_too_slow_is_never_carried_out_at_the_whole_length() -> None:
    bench = Bench(some=(0.1, 10.0))
    admitted = bench.admission.decide(entry())
    assert admitted.step is None
    assert admitted.not_run == "predicted 6.4 s a step, more than 1 s"
    assert max(bench.log) < 64


def test_a_step_that_needs_too_much_memory_is_never_carried_out_at_the_whole_length() -> None:
    bench = Bench(some=(0.001, 1e8))
    admitted = bench.admission.decide(entry())
    assert admitted.not_run == "predicted 6.4 GB at its peak, more than 1 GB"
    assert max(bench.log) < 64


def test_the_first_layers_keep_their_time_and_a_later_one_learns_how_little_is_left() -> None:
    bench = Bench(Limits(1.0, 3.0, 1e9, 3, compiles=True), first=(0.006, 1.0), second=(0.006, 1.0))
    assert bench.admission.decide(entry("first/how")).not_run is None
    why = bench.admission.decide(entry("second/how")).not_run
    assert why is not None
    assert why.startswith("predicted 1.92 s in all, and 1.08 s")
    assert why.endswith("of the run's 3 s left")


def test_a_compiled_layer_is_tried_at_the_whole_length_alone_and_its_compilation_does_not_count() -> None:
    bench = Bench(some=(0.001, 10.0))
    assert bench.admission.decide(entry(compiled=True)).predicted == pytest.approx(0.064)
    assert set(bench.log) == {64}


def test_where_there_is_no_time_to_compile_the_row_says_so() -> None:
    bench = Bench(Limits(1.0, 100.0, 1e9, 3, compiles=False), some=(0.001, 10.0))
    assert "compiling" in str(bench.admission.decide(entry(compiled=True)).not_run)
    assert bench.log == []


def test_a_decode_step_is_not_foreseen_from_shorter_positions() -> None:
    bench = Bench(grows=False, some=(0.01, 10.0))
    assert bench.admission.decide(entry()).not_run is None
    assert set(bench.log) == {64}


def raises(error: Exception) -> Callable[[], None]:
    def act(*_given: Any) -> None:
        raise error

    return act


@pytest.mark.parametrize("when", ["built", "first called"])
@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConfigError("impl='triton' needs a CUDA device: choose 'reference'"), "impl='triton' needs a CUDA device"),
        (ImportError("No module named 'fla'"), "ImportError: No module named 'fla'"),
        (NotImplementedError("no backward on CPU"), "NotImplementedError: no backward on CPU"),
        (RuntimeError("CUDA out of memory\nmore lines"), "RuntimeError: CUDA out of memory"),
    ],
)
def test_a_refusal_is_a_row_with_its_reason(error: Exception, expected: str, when: str) -> None:
    step = type("Refusing", (), {"seconds": raises(error), "tokens": 1})()
    make: Any = raises(error) if when == "built" else lambda _entry, _n: step
    admitted = Admission(LIMITS, make, 64).decide(entry())
    assert admitted.step is None
    assert str(admitted.not_run).startswith(expected)
    assert "\n" not in str(admitted.not_run)


def test_a_defect_of_our_own_is_no_refusal() -> None:
    with pytest.raises(TypeError):
        Admission(LIMITS, raises(TypeError("defect")), 64).decide(entry())  # type: ignore[arg-type]
    foreign = entry(refusals=(Exception,))
    assert Admission(LIMITS, raises(TypeError("theirs")), 64).decide(foreign).not_run == "TypeError: theirs"  # type: ignore[arg-type]


def test_a_reason_names_no_place_on_this_machine() -> None:
    why = reason(OSError("cannot open /home/somebody/cache/kernel.so: denied"))
    assert why == "OSError: cannot open ...: denied"
    assert reason(ValueError("")) == "ValueError"
