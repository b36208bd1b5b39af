"""How experiments measure time: one clock, subjects taken in turns, and steps that would take too long foreseen."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from audits.evidence.experiment import Progress

Name = TypeVar("Name")


def seconds_of(action: Callable[[], object], device: str) -> float:
    """Seconds that an action takes, from an idle device to an idle device: CUDA events there, else the wall clock."""
    if not device.startswith("cuda"):
        started = time.perf_counter()
        action()
        return time.perf_counter() - started
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    begin.record()
    action()
    end.record()
    torch.cuda.synchronize()
    return float(begin.elapsed_time(end)) / 1000  # it is measured in milliseconds


def in_turns(
    steps: Mapping[Name, Callable[[], float]], rounds: int, progress: Progress
) -> dict[Name, tuple[float, ...]]:
    """Seconds of every step in every round; each round begins with another one, after one that does not count.

    Args:
        steps: each carries out one step and says how many seconds it took.
        rounds: how many count.
        progress: called after each round.
    """
    times: dict[Name, list[float]] = {name: [] for name in steps}
    order = list(steps)
    for done in range(rounds + 1):
        progress(done, rounds + 1, f"round {done} of {rounds}")
        start = done % max(1, len(order))
        for name in (*order[start:], *order[:start]):
            taken = steps[name]()
            if done:
                times[name].append(taken)
    return {name: tuple(taken) for name, taken in times.items()}


@dataclass(frozen=True)
class Outlook:
    """What a step is predicted to take, in seconds (None where it cannot be run), and why it is not run."""

    predicted: float | None
    not_run: str | None = None


def outlook(seconds: Callable[[int], float], n: int, limit: float) -> Outlook:
    """Try short lengths, and say from them whether the whole one is within the limit.

    Shorter lengths are tried first, so that a subject that is far too slow is given up early.

    Args:
        seconds: carries out a step at a length and says how many seconds it took; its errors pass through.
        n: the whole length.
        limit: seconds that a step may take.
    """
    short = [max(1, n // 16), max(2, n // 8), max(3, n // 4)]
    times: list[float] = []
    seconds(short[0])  # warms up, and does not count
    for length in short:
        times.append(seconds(length))
        if extrapolated(short[: len(times)], times, n) > limit:  # once more: something else may have had the core
            times[-1] = min(times[-1], seconds(length))
        predicted = extrapolated(short[: len(times)], times, n)
        if predicted > limit:
            return too_slow(predicted, limit)
    return Outlook(predicted)


def too_slow(predicted: float, limit: float) -> Outlook:
    """The outlook of a step that takes longer than the limit, both in seconds."""
    return Outlook(predicted, f"predicted {predicted:.3g} s a step, more than {limit:g} s")


def extrapolated(lengths: Sequence[int], times: Sequence[float], n: int) -> float:
    """Seconds at n from those of shorter lengths: a linear and a quadratic part through the last two.

    Parts that noise makes negative are taken for zero; one length alone is taken to grow linearly, the least it can.
    """
    last = times[-1] / lengths[-1]
    if len(times) == 1:
        return last * n
    quadratic = max(0.0, (last - times[-2] / lengths[-2]) / (lengths[-1] - lengths[-2]))
    linear = last - quadratic * lengths[-1]
    return max(0.0, linear) * n + quadratic * n * n
