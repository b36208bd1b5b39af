"""What the bench measured, read from the ledger: times, ratios, floors and rates, a machine at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from audits.experiment import TIERS
from audits.ledger import Evidence, Record
from audits.statistics import Exponent, scaling_exponent

EXPERIMENT = "bench"
PASSES = ("forward", "forward+backward", "decode")
BASE, PROJECTIONS, HUB = "attention", "projections", "hub"
_VARIED = ("pass", "n", "layers")  # what differs between the runs of one bench


@dataclass(frozen=True)
class Spread:
    """Median, lowest and highest over the rounds of a run."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Ceilings:
    """What the machine did at most in the same run: operations a second (matmul), bytes a second (copy)."""

    flops: float
    bytes: float


@dataclass(frozen=True)
class Row:
    """One layer at one length in one pass.

    Attributes:
        layer: what it computes.
        impl: how.
        backend: the alternative that was fastest; empty where there are none.
        n: tokens, or the position of a decode step.
        passes: one of `PASSES`.
        ms: milliseconds of a step; of a decode step, of one token. None where it was not run.
        ratio: to attention in the same round; None without attention.
        peak_bytes: at a step's peak, beyond what was held before.
        flops: operations that its definition demands; None where they are not counted, as the next one.
        bytes: traffic that it demands.
        ceilings: those of the same run.
        core_share: of the measured copy rate that the layer reaches without its projections; forward only.
        not_run: why there is no time.
        run: address of the run.
    """

    layer: str
    impl: str
    backend: str
    n: int
    passes: str
    ms: Spread | None
    ratio: Spread | None
    peak_bytes: int | None
    flops: float | None
    bytes: float | None
    ceilings: Ceilings | None
    core_share: float | None
    not_run: str | None
    run: str

    @property
    def name(self) -> str:
        """Layer and implementation."""
        return f"{self.layer}/{self.impl}"

    @property
    def floor_ms(self) -> float | None:
        """The least time that the demanded operations and traffic take at the measured rates."""
        if self.flops is None or self.bytes is None or self.ceilings is None:
            return None
        return 1000 * max(self.flops / self.ceilings.flops, self.bytes / self.ceilings.bytes)

    @property
    def bound(self) -> str | None:
        """Which of the two decides the floor: "operations" or "traffic"."""
        if self.flops is None or self.bytes is None or self.ceilings is None:
            return None
        return "operations" if self.flops / self.ceilings.flops >= self.bytes / self.ceilings.bytes else "traffic"

    @property
    def flop_share(self) -> float | None:
        """Achieved operations a second, as a share of the measured matmul rate."""
        return self._share(self.flops, None if self.ceilings is None else self.ceilings.flops)

    @property
    def byte_share(self) -> float | None:
        """Achieved traffic a second, as a share of the measured copy rate."""
        return self._share(self.bytes, None if self.ceilings is None else self.ceilings.bytes)

    def _share(self, amount: float | None, rate: float | None) -> float | None:
        if amount is None or rate is None or self.ms is None:
            return None
        return 1000 * amount / self.ms.median / rate


@dataclass(frozen=True)
class Bench:
    """All rows of one machine at one tier; `config` is what the runs share, `environment` that of the last one."""

    machine: str
    tier: str
    config: Mapping[str, Any]
    environment: Mapping[str, str]
    threads: int
    rows: tuple[Row, ...]

    @property
    def cuda(self) -> bool:
        """Whether it was measured on a GPU."""
        return str(self.config.get("device", "")).startswith("cuda")

    @property
    def names(self) -> tuple[str, ...]:
        """Layers with their implementations, in the order of the runs."""
        return tuple(dict.fromkeys(row.name for row in self.rows))

    @property
    def lengths(self) -> tuple[int, ...]:
        """All lengths, shortest first."""
        return tuple(sorted({row.n for row in self.rows}))

    @property
    def runs(self) -> tuple[str, ...]:
        """Addresses of all runs."""
        return tuple(sorted({row.run for row in self.rows}))

    def of(self, passes: str, name: str | None = None) -> tuple[Row, ...]:
        """The rows of a pass (and a layer), shortest length first."""
        found = (row for row in self.rows if row.passes == passes and name in (None, row.name))
        return tuple(sorted(found, key=lambda row: row.n))

    def at(self, passes: str, name: str, n: int) -> Row | None:
        """One row."""
        return next((row for row in self.of(passes, name) if row.n == n), None)

    def exponent(self, passes: str, name: str, low: int = 0, high: int = 2**62) -> Exponent | None:
        """How the time grows over the lengths from `low` to `high`; None below three of them."""
        timed = [(row.n, row.ms.median) for row in self.of(passes, name) if row.ms and low <= row.n <= high]
        return scaling_exponent(*zip(*timed, strict=True)) if len(timed) >= 3 else None


def benches(evidence: Evidence) -> tuple[Bench, ...]:
    """One a machine, by name: the highest tier that was measured on it, at the setting of its last run."""
    machines: dict[str, list[Record]] = {}
    for record in evidence.records:
        if record.experiment == EXPERIMENT:
            machines.setdefault(str(record.config["machine"]), []).append(record)
    return tuple(_bench(name, machines[name]) for name in sorted(machines))


def _bench(machine: str, records: Sequence[Record]) -> Bench:
    tier = max((str(record.config["tier"]) for record in records), key=TIERS.index)
    found = [record for record in records if record.config["tier"] == tier]
    alike = [record for record in found if record.setting(_VARIED) == found[-1].setting(_VARIED)]
    last = alike[-1]
    rows: dict[tuple[str, str, int], Row] = {}
    for record in alike:  # a later run of some of the layers replaces what an earlier one said of them
        rows |= {(row.name, row.passes, row.n): row for row in _rows(record)}
    threads = max(int(record.result.get("threads", 0)) for record in alike)
    return Bench(machine, tier, last.setting(_VARIED), last.environment, threads, _ordered(rows.values(), alike))


def _ordered(rows: Iterable[Row], records: Sequence[Record]) -> tuple[Row, ...]:
    """Rows by layer as in the runs' configuration, then by pass and length, however the runs came into the ledger."""
    most = max((list(record.config["layers"]) for record in records), key=lambda names: (len(names), names))
    place = {name: index for index, name in enumerate(most)}
    return tuple(sorted(rows, key=lambda r: (place.get(r.name, len(most)), r.name, PASSES.index(r.passes), r.n)))


def _rows(record: Record) -> list[Row]:
    """The rows of one run, of alternatives the fastest; of a run that was ended, one a layer with the reason."""
    told = [dict(entry) for entry in record.result["rows"]]
    if "lost" in record.result:
        parts = (name.partition("/") for name in record.config["layers"])
        told = [{"layer": layer, "impl": impl, "not_run": record.result["lost"]} for layer, _, impl in parts]
    kept: dict[tuple[str, str], dict[str, Any]] = {}
    for entry in told:
        key = (entry["layer"], entry["impl"])
        kept[key] = min(kept.get(key, entry), entry, key=_slowness)
    rates = _ceilings(record.result.get("ceilings", {}))
    beside = {layer: entry.get("seconds", ()) for (layer, _), entry in kept.items()}
    return [_row(record, entry, rates, beside) for entry in kept.values()]


def _slowness(entry: Mapping[str, Any]) -> float:
    """Median seconds; infinite where it was not run."""
    return median(entry["seconds"]) if entry.get("seconds") else float("inf")


def _ceilings(told: Mapping[str, Any]) -> Ceilings | None:
    rates = {name: top["amount"] / median(top["seconds"]) for name, top in told.items() if top["seconds"]}
    return Ceilings(rates["matmul"], rates["copy"]) if {"matmul", "copy"} <= set(rates) else None


def _row(
    record: Record, entry: Mapping[str, Any], rates: Ceilings | None, beside: Mapping[str, Sequence[float]]
) -> Row:
    seconds = entry.get("seconds", ())
    return Row(
        layer=str(entry["layer"]),
        impl=str(entry["impl"]),
        backend=str(entry.get("backend", "")),
        n=int(record.config["n"]),
        passes=str(record.config["pass"]),
        ms=spread([1000 * taken for taken in seconds]),
        ratio=paired_ratio(seconds, beside.get(BASE, ())),
        peak_bytes=entry.get("peak_bytes"),
        flops=entry.get("flops"),
        bytes=entry.get("bytes"),
        ceilings=rates,
        core_share=_core_share(entry, rates, beside.get(PROJECTIONS, ())),
        not_run=entry.get("not_run"),
        run=record.run,
    )


def spread(values: Sequence[float]) -> Spread | None:
    """Median and range; None of nothing."""
    return Spread(median(values), min(values), max(values)) if values else None


def paired_ratio(seconds: Sequence[float], base: Sequence[float]) -> Spread | None:
    """Ratios within the rounds, so that what slows the machine for a while is in both; None where one was not run."""
    if not seconds or len(seconds) != len(base):
        return None
    return spread([taken / other for taken, other in zip(seconds, base, strict=True)])


def _core_share(
    entry: Mapping[str, Any], rates: Ceilings | None, projections: Sequence[float]
) -> float | None:
    """Traffic of the mixing alone over its time, which is the layer's less that of its projections in the same round."""
    seconds, amount = entry.get("seconds", ()), entry.get("core_bytes")
    if amount is None or rates is None or not seconds or len(seconds) != len(projections):
        return None
    core = median(taken - other for taken, other in zip(seconds, projections, strict=True))
    return float(amount / core / rates.bytes) if core > 0 else None
