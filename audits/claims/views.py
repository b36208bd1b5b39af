"""What the report reads of the evidence, as types; whatever a record lacks is None or empty, never an exception."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import msgspec

from audits.claims.judged import Report
from audits.claims.tool._battery import Battery, minimal_battery
from audits.evidence.ledger import Record
from audits.results import Verdict

_ARMS = {"causal": "clean", "council": "council", "selection": "selection"}  # by the routing of the hub layers
Influence = Annotated[float, msgspec.Meta(ge=0, le=sys.float_info.max)]
T = TypeVar("T")


def read(kind: type[T], record: Record, **known: Any) -> T:
    """A run's result as `kind`, with what is `known` of it; the defaults where the result has another form."""
    try:
        return msgspec.convert({**record.result, **known}, kind)
    except msgspec.ValidationError:
        return msgspec.convert(known, kind)


class FoundClass(msgspec.Struct, frozen=True):
    """A finding of a recorded audit, by its class."""

    leak_class: str


class Audit(msgspec.Struct, frozen=True):
    """What is read of a recorded audit."""

    verdict: Verdict
    findings: tuple[FoundClass, ...] = ()


class TrainingRun(msgspec.Struct, frozen=True):
    """One arm trained with one seed; losses in nats per token; `influence` is [N sinks][N sources] or empty."""

    arm: str
    seed: int
    run: str
    valid_nats: float | None = None
    clean_mask_blocks: tuple[float, ...] | None = None
    unigram_nats: float | None = None
    bits_per_byte: float | None = None
    diverged: bool = False
    audit: Audit | None = None
    influence: tuple[tuple[Influence, ...], ...] = ()

    def __post_init__(self) -> None:
        # A hole in the map would read as "no influence".
        if any(len(row) != len(self.influence) for row in self.influence):
            raise ValueError("the influence map is not square")

    @property
    def clean_mask_nats(self) -> float | None:
        """The mean loss of the same weights under the clean mask."""
        return sum(self.clean_mask_blocks) / len(self.clean_mask_blocks) if self.clean_mask_blocks else None


@dataclass(frozen=True)
class LeakWorth:
    """The training runs of one setting (configuration without the arm); other settings are only counted."""

    runs: tuple[TrainingRun, ...]
    setting: Mapping[str, Any]
    other_settings: int

    def of(self, arm: str) -> tuple[TrainingRun, ...]:
        """The runs of an arm, by seed."""
        return tuple(run for run in self.runs if run.arm == arm)


class LeakVerdicts(msgspec.Struct, frozen=True):
    """One planted leak: its class, the class the auditor named, and the verdicts on it and on its clean control."""

    name: str
    leak_class: str = "unknown"
    named: str | None = None
    mechanism: str = ""
    origin: str = ""
    leaky: dict[str, str] = {}
    clean: dict[str, str] = {}

    @property
    def killed(self) -> bool:
        """Whether any probe saw the leak."""
        return "LEAK" in self.leaky.values()

    @property
    def false_alarm(self) -> bool:
        """Whether any probe called the clean control leaky."""
        return "LEAK" in self.clean.values()


class KillRow(LeakVerdicts, frozen=True):
    """A planted leak with the forward passes of each probe on the clean control."""

    forwards: dict[str, int] = {}


@dataclass(frozen=True)
class KillMatrix:
    """All planted leaks by class and name, and the probes they met."""

    leaks: tuple[KillRow, ...]

    @property
    def probes(self) -> tuple[str, ...]:
        """Every probe that judged any of them, by name."""
        return tuple(sorted({probe for leak in self.leaks for probe in (*leak.leaky, *leak.clean)}))

    @property
    def kills(self) -> Mapping[str, frozenset[str]]:
        """The leaks that each probe sees."""
        return {p: frozenset(t.name for t in self.leaks if t.leaky.get(p) == "LEAK") for p in self.probes}

    @property
    def battery(self) -> Battery:
        """The fewest probes that see all of them; of several such sets the one of fewest forward passes."""
        cost = {p: float(sum(leak.forwards.get(p, 0) for leak in self.leaks)) for p in self.probes}
        return minimal_battery(self.kills, cost)


class CostPoint(msgspec.Struct, frozen=True):
    """The cost of one layer at one length; counted FLOPs, measured milliseconds with their interval."""

    n: Annotated[int, msgspec.Meta(gt=0)]
    flops: float | None = None
    ms_median: float | None = None
    ms_low: float | None = None
    ms_high: float | None = None


class Slope(msgspec.Struct, frozen=True):
    """A fitted exponent with its interval."""

    slope: float | None = None
    low: float | None = None
    high: float | None = None


class LayerCost(msgspec.Struct, frozen=True):
    """One layer's cost against length, and the fitted exponents (slopes in log-log)."""

    layer: str
    rows: tuple[CostPoint, ...] = ()
    flops_exponent: float | None = None
    ms_exponent: Slope = Slope()

    @property
    def points(self) -> tuple[CostPoint, ...]:
        """The measured lengths, shortest first."""
        return tuple(sorted(self.rows, key=lambda point: point.n))


class SelectionRun(msgspec.Struct, frozen=True):
    """One seed of the selection attack: what gradient and perturbation say about the same weights."""

    seed: int
    run: str
    gradient: str = ""
    perturbation: str = ""
    audit: Audit | None = None


def _settings(report: Report, records: Iterable[Record], *varied: str) -> list[tuple[Record, ...]]:
    """Records by setting; first those that decided a claim, among them the one of most steps (our choice)."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(json.dumps(record.setting(varied), sort_keys=True, default=str), []).append(record)

    def rank(key: str) -> tuple[bool, float, int, str]:
        cited = any(record.run in report.cited for record in groups[key])
        return cited, groups[key][0].config.get("steps", 0), len(groups[key]), key

    return [tuple(groups[key]) for key in sorted(groups, key=rank, reverse=True)]


def leak_worth(report: Report) -> LeakWorth | None:
    """What a leak is worth in training: models of hub layers alone that differ in routing; None without any."""
    models = (r for r in report.evidence.of("language-model") if set(r.config.get("pattern", "")) == {"H"})
    judged = (r for r in models if r.config.get("stage") == "judged" and r.config.get("routing") in _ARMS)
    settings = _settings(report, judged, "routing", "lr")
    if not settings:
        return None
    first = settings[0]
    runs = [read(TrainingRun, r, arm=_ARMS[r.config["routing"]], seed=r.seed, run=r.run) for r in first]
    setting = dict(sorted(first[0].setting(("routing", "lr")).items()))
    return LeakWorth(tuple(sorted(runs, key=lambda run: (run.arm, run.seed, run.run))), setting, len(settings) - 1)


def kill_matrix(report: Report) -> KillMatrix:
    """Every planted leak against every probe; of several runs of one the cited one, else the last hash, counts."""
    records = sorted(report.evidence.of("kill-matrix"), key=lambda record: (record.run in report.cited, record.run))
    rows = {name: read(KillRow, record, name=name) for record in records for name in [str(record.config["twin"])]}
    return KillMatrix(tuple(sorted(rows.values(), key=lambda row: (row.leak_class, row.name))))


def layer_costs(report: Report) -> tuple[LayerCost, ...]:
    """One cost curve a layer, by name, of one setting; empty when none was measured."""
    records = next(iter(_settings(report, report.evidence.of("layer-cost"), "layer")), ())
    costs = {layer: read(LayerCost, r, layer=layer) for r in reversed(records) for layer in [str(r.config["layer"])]}
    return tuple(costs[layer] for layer in sorted(costs))


def selection_attack(report: Report) -> tuple[SelectionRun, ...]:
    """The runs of the selection attack, by seed."""
    runs = [read(SelectionRun, r, seed=r.seed, run=r.run) for r in report.evidence.of("selection-attack")]
    return tuple(sorted(runs, key=lambda run: (run.seed, run.run)))
