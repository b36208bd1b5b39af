"""What HubRouter was to reach, fixed beforehand, and what the bench says of it: met, missed or not verified."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from audits.experiments.bench._measured import BASE, HUB, Bench
from audits.formatting import Table, number

TRAINING = "forward+backward"
SDPA = f"{BASE}/sdpa"
CPU_SHAPE = {"d_model": 256, "n_heads": 4, "n_hubs": 8, "k": 64, "chunk": 64, "batch": 2, "dtype": "float32"}
GPU_SHAPE = {"d_model": 1024, "dtype": "bfloat16"}
LONGEST = 65536
FLAT = 0.05  # an exponent up to here is called flat (our choice): less than a third more over 256 times the length
CORE_AT = 32768  # where the traffic is large enough to be limited by memory (our choice)


@dataclass(frozen=True)
class Measured:
    """What was measured of a target, and whether that meets it."""

    text: str
    met: bool


@dataclass(frozen=True)
class Target:
    """One target; `measure` takes a bench and the name of its hub layer, and gives None where a row is missing."""

    text: str
    on: str
    measure: Callable[[Bench, str], Measured | None]


@dataclass(frozen=True)
class Outcome:
    """A target on one machine; `verdict` is "met", "missed" or "not verified"."""

    target: str
    machine: str
    measured: str
    verdict: str


def outcomes(benches: Sequence[Bench]) -> tuple[Outcome, ...]:
    """Every target on every machine it is about; "not verified" where there is none, or a row is missing."""
    return tuple(outcome for target in TARGETS for outcome in _outcomes(target, benches))


def target_table(benches: Sequence[Bench]) -> Table:
    """The outcomes."""
    rows = tuple((o.verdict, o.target, o.measured, o.machine) for o in outcomes(benches))
    return Table("Targets", ("outcome", "target", "measured", "machine"), rows)


def hubs_by_speed(bench: Bench) -> tuple[str, ...]:
    """Implementations, the fastest in training first, over the lengths at which all of them were timed."""
    timed = {name: _medians(bench, name) for name in bench.names if name.partition("/")[0] == HUB}
    able = {name: times for name, times in timed.items() if times}
    shared = set.intersection(*map(set, able.values())) if able else set()
    return tuple(sorted(able, key=lambda name: sum(math.log(able[name][n]) for n in shared)))


def _medians(bench: Bench, name: str) -> Mapping[int, float]:
    return {row.n: row.ms.median for row in bench.of(TRAINING, name) if row.ms is not None}


def _outcomes(target: Target, benches: Sequence[Bench]) -> list[Outcome]:
    able = [bench for bench in benches if PLACES[target.on](bench)]
    if not able:
        return [Outcome(target.text, target.on, f"no bench of this shape on {target.on}", "not verified")]
    return [_outcome(target, bench) for bench in able]


def _outcome(target: Target, bench: Bench) -> Outcome:
    for hub in hubs_by_speed(bench):  # not the best of all: the first that was run at what the target needs
        if (found := target.measure(bench, hub)) is not None:
            return Outcome(target.text, bench.place, f"{found.text} ({hub})", "met" if found.met else "missed")
    return Outcome(target.text, bench.place, "a length or layer that it needs was not run", "not verified")


def _has(bench: Bench, shape: Mapping[str, Any]) -> bool:
    return all(bench.config.get(name) == value for name, value in shape.items())


PLACES: Mapping[str, Callable[[Bench], bool]] = {
    "a CPU": lambda bench: not bench.cuda and _has(bench, CPU_SHAPE),
    "an H200": lambda bench: bench.cuda and "H200" in bench.place and _has(bench, GPU_SHAPE),
}


def _ratio(n: int, most: float) -> Callable[[Bench, str], Measured | None]:
    def measure(bench: Bench, hub: str) -> Measured | None:
        row = bench.at(TRAINING, hub, n)
        if row is None or row.ratio is None:
            return None
        return Measured(
            f"{number(row.ratio.median)}, from {number(row.ratio.low)} to {number(row.ratio.high)}",
            row.ratio.median <= most,
        )

    return measure


def _speed_up(n: int, least: float) -> Callable[[Bench, str], Measured | None]:
    def measure(bench: Bench, hub: str) -> Measured | None:
        row = bench.at(TRAINING, hub, n)
        if row is None or row.ratio is None:
            return None
        times = 1 / row.ratio.median
        return Measured(f"{number(times)}x", times >= least)

    return measure


def _faster_from(start: int) -> Callable[[Bench, str], Measured | None]:
    """Faster at every length from there on at which both were run, of which there must be two."""

    def measure(bench: Bench, hub: str) -> Measured | None:
        ratios = {row.n: row.ratio.median for row in bench.of(TRAINING, hub) if row.n >= start and row.ratio}
        if start not in ratios or len(ratios) < 2:
            return None
        speeds = ", ".join(f"{number(1 / ratio)}x at {n}" for n, ratio in ratios.items())
        return Measured(speeds, all(ratio < 1 for ratio in ratios.values()))

    return measure


def _exponent(low: int, high: int, most: float) -> Callable[[Bench, str], Measured | None]:
    def measure(bench: Bench, hub: str) -> Measured | None:
        if not {low, high} <= set(_medians(bench, hub)) or (found := bench.exponent(TRAINING, hub, low, high)) is None:
            return None
        return Measured(f"{found.slope:.2f} [{found.low:.2f}, {found.high:.2f}]", found.slope <= most)

    return measure


def _flat_decoding(bench: Bench, hub: str) -> Measured | None:
    timed = {row.n: row.ms.median for row in bench.of("decode", hub) if row.ms is not None}
    if LONGEST not in timed or (found := bench.exponent("decode", hub)) is None:
        return None
    first = min(timed)
    times = f"{number(timed[first])} ms at {first}, {number(timed[LONGEST])} ms at {LONGEST}"
    return Measured(f"exponent {found.slope:.3f}; {times}", found.slope <= FLAT)


def _core_rate(bench: Bench, hub: str) -> Measured | None:
    row = bench.at("forward", hub, CORE_AT)
    if row is None or row.core_share is None:
        return None
    return Measured(f"{100 * row.core_share:.0f} % at n = {CORE_AT}", row.core_share >= 0.6)


def _less_memory(bench: Bench, hub: str) -> Measured | None:
    pairs = [(row, bench.at(TRAINING, SDPA, row.n)) for row in bench.of(TRAINING, hub)]
    shares = {
        row.n: row.peak_bytes / base.peak_bytes
        for row, base in pairs
        if row.peak_bytes is not None and base is not None and base.peak_bytes
    }
    if len(shares) < len(pairs) or not shares:
        return None
    worst = max(shares, key=lambda n: shares[n])
    return Measured(f"at most {number(shares[worst])} of SDPA's, at n = {worst}", shares[worst] < 1)


TARGETS = (
    Target("forward + backward at n = 1024: at most 0.60 of causal SDPA's time", "a CPU", _ratio(1024, 0.60)),
    Target("at n = 4096: at most 0.25", "a CPU", _ratio(4096, 0.25)),
    Target("at n = 8192: at most 0.13", "a CPU", _ratio(8192, 0.13)),
    Target("exponent of the time from n = 1024 to 8192: at most 1.05", "a CPU", _exponent(1024, 8192, 1.05)),
    Target(f"cost of a decoded token: flat to n = {LONGEST}", "a CPU", _flat_decoding),
    Target("forward + backward: faster than SDPA from n = 4096 on", "an H200", _faster_from(4096)),
    Target("at n = 8192: at least 1.6 times as fast", "an H200", _speed_up(8192, 1.6)),
    Target("at n = 32768: at least 4.5 times as fast", "an H200", _speed_up(32768, 4.5)),
    Target("hub core, forward: at least 60 % of the measured copy bandwidth", "an H200", _core_rate),
    Target("peak memory below SDPA's at every n", "an H200", _less_memory),
)
