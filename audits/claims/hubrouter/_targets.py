"""What HubRouter is to reach, fixed beforehand, and what the bench says of it: met, missed or not measured.

On a CPU the layer is held to its own projections and to its floor, both of the same run, which mean the same on every
machine; ratios to SDPA come second, because they also depend on how good the machine's SDPA is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from audits.experiments.bench._measured import BASE, HUB, Bench
from audits.experiments.bench._row import Row, Spread
from audits.formatting import Table, number

TRAINING = "forward+backward"
SDPA = f"{BASE}/sdpa"
CPU_SHAPE = {"d_model": 256, "n_heads": 4, "n_hubs": 8, "k": 64, "chunk": 64, "batch": 2, "dtype": "float32"}
HALF_SHAPE = {**CPU_SHAPE, "dtype": "bfloat16"}
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

    what: str
    goal: str
    on: str
    measure: Callable[[Bench, str], Measured | None]


@dataclass(frozen=True)
class Outcome:
    """A target on one machine; `verdict` is "met", "missed" or "not measured"."""

    what: str
    measured: str
    target: str
    verdict: str
    machine: str


def outcomes(benches: Sequence[Bench]) -> tuple[Outcome, ...]:
    """Every target on every machine it is about; "not measured" where there is none, or a row is missing."""
    return tuple(outcome for target in TARGETS for outcome in _outcomes(target, benches))


def target_table(benches: Sequence[Bench]) -> Table:
    """The outcomes; what was measured with its range over the rounds."""
    rows = tuple((o.what, o.measured, o.target, o.verdict, o.machine) for o in outcomes(benches))
    return Table("Targets", ("what", "measured", "target", "outcome", "machine"), rows)


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
        return [Outcome(target.what, f"no bench of this shape on {target.on}", target.goal, "not measured", target.on)]
    return [_outcome(target, bench) for bench in able]


def _outcome(target: Target, bench: Bench) -> Outcome:
    for hub in hubs_by_speed(bench):  # not the best of all: the first that was run at what the target needs
        if (found := target.measure(bench, hub)) is not None:
            verdict = "met" if found.met else "missed"
            return Outcome(target.what, f"{found.text} ({hub})", target.goal, verdict, bench.place)
    missing = "a length or layer that it needs was not run"
    return Outcome(target.what, missing, target.goal, "not measured", bench.place)


def _has(bench: Bench, shape: Mapping[str, Any]) -> bool:
    return all(bench.config.get(name) == value for name, value in shape.items())


PLACES: Mapping[str, Callable[[Bench], bool]] = {
    "a CPU": lambda bench: not bench.cuda and _has(bench, CPU_SHAPE),
    "a CPU, bfloat16": lambda bench: not bench.cuda and _has(bench, HALF_SHAPE),
    "an H200": lambda bench: bench.cuda and "H200" in bench.place and _has(bench, GPU_SHAPE),
}


def _at_most(
    most: float, of: Callable[[Row], Spread | None], n: int, last: int | None = None
) -> Callable[[Bench, str], Measured | None]:
    """The largest median of the lengths from n to `last` that were run (n itself must be), or at n alone."""

    def measure(bench: Bench, hub: str) -> Measured | None:
        rows = (row for row in bench.of(TRAINING, hub) if n <= row.n <= (last or n))
        found = {row.n: spread for row in rows if (spread := of(row)) is not None}
        if n not in found:
            return None
        worst = max(found, key=lambda at: found[at].median)
        value = found[worst]
        at = f" at n = {worst}" if last else ""
        text = f"{number(value.median)}, from {number(value.low)} to {number(value.high)}{at}"
        return Measured(text, value.median <= most)

    return measure


def _to_sdpa(row: Row) -> Spread | None:
    return row.ratio


def _to_projections(row: Row) -> Spread | None:
    return row.to_projections


def _to_floor(row: Row) -> Spread | None:
    return row.to_floor


def _speed_up(n: int, least: float) -> Callable[[Bench, str], Measured | None]:
    def measure(bench: Bench, hub: str) -> Measured | None:
        row = bench.at(TRAINING, hub, n)
        if row is None or row.ratio is None:
            return None
        times, low, high = (1 / part for part in (row.ratio.median, row.ratio.high, row.ratio.low))
        return Measured(f"{number(times)}x, from {number(low)} to {number(high)}", times >= least)

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


TRAINED = "forward + backward"
TARGETS = (
    Target(
        f"{TRAINED} / its own projections, n >= 4096",
        "at most 1.6",
        "a CPU",
        _at_most(1.6, _to_projections, 4096, LONGEST),
    ),
    Target(f"{TRAINED} / its floor, n >= 4096", "at most 1.6", "a CPU", _at_most(1.6, _to_floor, 4096, LONGEST)),
    Target("exponent of the time, n = 1024 to 8192", "at most 1.05", "a CPU", _exponent(1024, 8192, 1.05)),
    Target(f"cost of a decoded token up to n = {LONGEST}", "flat", "a CPU", _flat_decoding),
    Target(f"{TRAINED} / causal SDPA, n = 1024", "at most 0.60", "a CPU", _at_most(0.60, _to_sdpa, 1024)),
    Target(f"{TRAINED} / causal SDPA, n = 4096", "at most 0.26", "a CPU", _at_most(0.26, _to_sdpa, 4096)),
    Target(f"{TRAINED} / causal SDPA, n = 8192", "at most 0.145", "a CPU", _at_most(0.145, _to_sdpa, 8192)),
    Target(f"{TRAINED} / causal SDPA, n = 8192", "at most 0.12", "a CPU, bfloat16", _at_most(0.12, _to_sdpa, 8192)),
    Target(f"{TRAINED}, from n = 4096 on", "faster than SDPA", "an H200", _faster_from(4096)),
    Target(f"SDPA / {TRAINED}, n = 8192", "at least 1.6x", "an H200", _speed_up(8192, 1.6)),
    Target(f"SDPA / {TRAINED}, n = 32768", "at least 4.5x", "an H200", _speed_up(32768, 4.5)),
    Target("hub core, forward / measured copy rate", "at least 60 %", "an H200", _core_rate),
    Target("peak memory / SDPA's, every n", "below 1", "an H200", _less_memory),
)
