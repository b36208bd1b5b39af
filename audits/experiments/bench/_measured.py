"""What the bench measured, read from the ledger, a machine at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import msgspec

from audits.evidence.experiment import TIERS
from audits.evidence.ledger import Evidence, Record
from audits.experiments.bench._row import PASSES, Ceilings, Entry, Row
from audits.formatting import file_name
from audits.statistics.scaling import Exponent, scaling_exponent

EXPERIMENT = "bench"
BASE, PROJECTIONS, HUB = "attention", "projections", "hub"
_VARIED = ("pass", "n", "layers")  # what differs between the runs of one bench


class Ceiling(msgspec.Struct, frozen=True):
    """What was done at most: operations or bytes of a round, and the seconds of each round."""

    amount: float
    seconds: tuple[float, ...]


class Result(msgspec.Struct, frozen=True):
    """What a run of the bench recorded; `lost` says why it was ended."""

    rows: tuple[Entry, ...] = ()
    ceilings: dict[str, Ceiling] = {}
    threads: int = 0
    lost: str | None = None


@dataclass(frozen=True)
class Bench:
    """All rows of one machine at one tier, in one dtype; `config` is what the runs share, `environment` of the last."""

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
    def file(self) -> str:
        """A name for its file; a CPU is measured in two dtypes, of which the narrow one is named."""
        return file_name(f"{self.machine}-{self.narrow}" if self.narrow else self.machine)

    @property
    def narrow(self) -> str:
        """The dtype, where it is not the usual one of a CPU; empty on a GPU."""
        dtype = str(self.config["dtype"])
        return "" if self.cuda or dtype == "float32" else dtype

    @property
    def passes(self) -> tuple[str, ...]:
        """The passes that were run."""
        return tuple(name for name in PASSES if self.of(name))

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

    @property
    def shape(self) -> str:
        """The sizes in words."""
        named = ("d_model", "width"), ("n_heads", "heads"), ("n_hubs", "hubs"), ("k", "k"), ("chunk", "chunk")
        sizes = ", ".join(f"{word} {self.config[key]}" for key, word in named)
        return f"{sizes}, batch {self.config['batch']}, {self.config['dtype']}"

    @property
    def place(self) -> str:
        """The machine in words."""
        if self.cuda:
            return self.environment.get("device", self.machine)
        threads = "one thread" if self.threads == 1 else f"{self.threads} threads"
        return ", ".join(filter(None, (self.environment.get("cpu", self.machine), threads, self.narrow)))

    def exponent(self, passes: str, name: str, low: int = 0, high: int = 2**62) -> Exponent | None:
        """How the time grows over the lengths from `low` to `high`; None below three of them."""
        timed = {row.n: row.ms.median for row in self.of(passes, name) if row.ms and low <= row.n <= high}
        return scaling_exponent(list(timed), list(timed.values())) if len(timed) >= 3 else None


def benches(evidence: Evidence) -> tuple[Bench, ...]:
    """By machine and dtype: the highest tier that was measured on it, at the setting of its last run."""
    machines: dict[str, list[Record]] = {}
    for record in evidence.records:
        if record.experiment == EXPERIMENT:
            machines.setdefault(str(record.config["machine"]), []).append(record)
    return tuple(bench for name in sorted(machines) for bench in _of_machine(name, machines[name]))


def _of_machine(machine: str, records: Sequence[Record]) -> list[Bench]:
    tier = max((str(record.config["tier"]) for record in records), key=TIERS.index)
    dtypes: dict[str, list[Record]] = {}
    for record in records:
        if record.config["tier"] == tier:
            dtypes.setdefault(str(record.config["dtype"]), []).append(record)
    return [_bench(machine, tier, dtypes[dtype]) for dtype in sorted(dtypes, reverse=True)]  # the widest first


def _bench(machine: str, tier: str, records: Sequence[Record]) -> Bench:
    alike = [record for record in records if record.setting(_VARIED) == records[-1].setting(_VARIED)]
    last = alike[-1]
    rows: dict[tuple[str, str, int], Row] = {}
    for record in alike:  # a later run of some of the layers replaces the rows of an earlier one
        rows |= {(row.name, row.passes, row.n): row for row in _rows(record)}
    threads = max(_result(record).threads for record in alike)
    return Bench(machine, tier, last.setting(_VARIED), last.environment, threads, _ordered(rows.values(), alike))


def _result(record: Record) -> Result:
    return msgspec.convert(record.result, Result)


def _ordered(rows: Iterable[Row], records: Sequence[Record]) -> tuple[Row, ...]:
    """Rows by layer as in the runs' configuration, then by pass and length, however the runs came into the ledger."""
    most = max((list(record.config["layers"]) for record in records), key=lambda names: (len(names), names))
    place = {name: index for index, name in enumerate(most)}
    return tuple(sorted(rows, key=lambda r: (place.get(r.name, len(most)), r.name, PASSES.index(r.passes), r.n)))


def _rows(record: Record) -> list[Row]:
    """The rows of one run, of alternatives the fastest; of a run that was ended, one a layer with the reason."""
    result, entries = _result(record), _result(record).rows
    if result.lost is not None:
        parts = (name.partition("/") for name in record.config["layers"])
        entries = tuple(Entry(layer=layer, impl=impl, not_run=result.lost) for layer, _, impl in parts)
    kept: dict[tuple[str, str], Entry] = {}
    for entry in entries:
        key = (entry.layer, entry.impl)
        kept[key] = min(kept.get(key, entry), entry, key=_slowness)
    seconds = {entry.layer: entry.seconds for entry in kept.values()}
    shared: dict[str, Any] = {
        "n": record.config["n"],
        "passes": record.config["pass"],
        "run": record.run,
        "ceilings": _ceilings(result),
        "attention": seconds.get(BASE, ()),
        "projections": seconds.get(PROJECTIONS, ()),
    }
    return [Row(**msgspec.structs.asdict(entry), **shared) for entry in kept.values()]


def _slowness(entry: Entry) -> float:
    """Median seconds; infinite where it was not run."""
    return median(entry.seconds) if entry.seconds else float("inf")


def _ceilings(result: Result) -> Ceilings | None:
    """Of the fastest round each: what slows the machine for a while does not lower what it can do at most."""
    rates = {name: top.amount / min(top.seconds) for name, top in result.ceilings.items() if top.seconds}
    return Ceilings(rates["matmul"], rates["copy"]) if {"matmul", "copy"} <= set(rates) else None
