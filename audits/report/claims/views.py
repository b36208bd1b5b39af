"""Typed views over evidence records; whatever a record lacks is None or empty, never an exception."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from audits.auditor.battery import Battery, minimal_battery
from audits.evidence.ledger import Record
from audits.report.audit.view import parse_audit
from audits.report.claims.document import Report
from audits.report.render.figure_influence import Matrix
from audits.results import AuditResult

_ARMS = {"causal": "clean", "council": "council", "selection": "selection"}  # by the routing of the hub layers


@dataclass(frozen=True)
class TrainingRun:
    """One arm trained with one seed; losses in nats per token; `influence` is [N sinks][N sources] or empty."""

    arm: str
    seed: int
    run: str
    valid_nats: float | None
    clean_mask_nats: float | None
    unigram_nats: float | None
    bits_per_byte: float | None
    diverged: bool
    audit: AuditResult | None
    influence: Matrix


@dataclass(frozen=True)
class LeakWorth:
    """The training runs of one setting (configuration without the arm); other settings are only counted."""

    runs: tuple[TrainingRun, ...]
    setting: Mapping[str, Any]
    other_settings: int

    def of(self, arm: str) -> tuple[TrainingRun, ...]:
        """The runs of an arm, by seed."""
        return tuple(run for run in self.runs if run.arm == arm)


@dataclass(frozen=True)
class TwinRow:
    """One planted leak: its true class, the class the auditor named, and each probe's verdict on both twins."""

    name: str
    leak_class: str
    named: str | None
    mechanism: str
    origin: str
    leaky: Mapping[str, str]
    clean: Mapping[str, str]
    forwards: Mapping[str, int]  # of each probe on the clean twin

    @property
    def killed(self) -> bool:
        """Whether any probe saw the leak."""
        return "LEAK" in self.leaky.values()

    @property
    def false_alarm(self) -> bool:
        """Whether any probe called the clean twin leaky."""
        return "LEAK" in self.clean.values()


@dataclass(frozen=True)
class KillMatrix:
    """All twins by class and name, and the probes they met."""

    twins: tuple[TwinRow, ...]

    @property
    def probes(self) -> tuple[str, ...]:
        """Every probe that judged any twin, by name."""
        return tuple(sorted({probe for twin in self.twins for probe in (*twin.leaky, *twin.clean)}))

    @property
    def kills(self) -> Mapping[str, frozenset[str]]:
        """The leaks that each probe sees."""
        return {p: frozenset(t.name for t in self.twins if t.leaky.get(p) == "LEAK") for p in self.probes}

    @property
    def battery(self) -> Battery:
        """The fewest probes that see all of them; of several such sets the one of fewest forward passes."""
        cost = {p: float(sum(twin.forwards.get(p, 0) for twin in self.twins)) for p in self.probes}
        return minimal_battery(self.kills, cost)


@dataclass(frozen=True)
class CostPoint:
    """The cost of one layer at one length; counted FLOPs, measured milliseconds with their interval."""

    n: int
    flops: float | None
    ms: float | None
    ms_low: float | None
    ms_high: float | None


@dataclass(frozen=True)
class LayerCost:
    """One layer's cost against length, and the fitted exponents (slopes in log-log)."""

    layer: str
    points: tuple[CostPoint, ...]
    flops_exponent: float | None
    ms_exponent: float | None
    ms_exponent_low: float | None
    ms_exponent_high: float | None


@dataclass(frozen=True)
class SelectionRun:
    """One seed of the selection attack: what gradient and perturbation say about the same weights."""

    seed: int
    run: str
    gradient: str
    perturbation: str
    audit: AuditResult | None


def finite(mapping: Mapping[str, Any], key: str) -> float | None:
    """The number under `key`, or None where there is no finite one."""
    value = mapping.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _text(mapping: Mapping[str, Any], key: str) -> str:
    """The text under `key`, empty where there is none."""
    value = mapping.get(key)
    return value if isinstance(value, str) else ""


def _matrix(value: Any) -> Matrix:
    """A square matrix of finite numbers, or empty: a hole in it would read as "no influence"."""
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        return ()
    if any(not isinstance(row, Sequence) or len(row) != len(value) for row in value):
        return ()
    numbers = all(isinstance(x, int | float) and math.isfinite(x) for row in value for x in row)
    return tuple(tuple(abs(float(x)) for x in row) for row in value) if numbers else ()


def _mapping(value: Any) -> Mapping[str, Any]:
    """The value where it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def _setting(record: Record, varied: str) -> dict[str, Any]:
    """A record's configuration without the entry that the comparison varies."""
    return {key: record.config[key] for key in sorted(record.config) if key != varied}


def _settings(report: Report, records: Iterable[Record], varied: str) -> list[tuple[Record, ...]]:
    """Records by setting; first those that decided a claim, among them the one of most steps (our choice)."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(json.dumps(_setting(record, varied), sort_keys=True, default=str), []).append(record)

    def rank(key: str) -> tuple[bool, float, int, str]:
        cited = any(record.run in report.cited for record in groups[key])
        return cited, finite(groups[key][0].config, "steps") or 0.0, len(groups[key]), key

    return [tuple(groups[key]) for key in sorted(groups, key=rank, reverse=True)]


def _training_run(record: Record) -> TrainingRun:
    """The view of one trained language model."""
    result = record.result
    return TrainingRun(
        arm=_ARMS.get(_text(record.config, "routing"), ""),
        seed=record.seed,
        run=record.run,
        valid_nats=finite(result, "valid_nats"),
        clean_mask_nats=finite(result, "clean_mask_nats"),
        unigram_nats=finite(result, "unigram_nats"),
        bits_per_byte=finite(result, "bits_per_byte"),
        diverged=bool(result.get("diverged", False)),
        audit=parse_audit(result.get("audit")),
        influence=_matrix(result.get("influence")),
    )


def leak_worth(report: Report) -> LeakWorth | None:
    """What a leak is worth in training: models of hub layers alone that differ in routing; None without any."""
    models = (r for r in report.evidence.of("language-model") if set(_text(r.config, "pattern")) == {"H"})
    settings = _settings(report, (r for r in models if _text(r.config, "routing") in _ARMS), "routing")
    if not settings:
        return None
    runs = sorted((_training_run(record) for record in settings[0]), key=lambda run: (run.arm, run.seed, run.run))
    return LeakWorth(tuple(runs), _setting(settings[0][0], "routing"), len(settings) - 1)


def _verdicts(value: Any) -> dict[str, str]:
    """Probe to verdict, by probe name."""
    return {str(probe): str(verdict) for probe, verdict in sorted(_mapping(value).items())}


def kill_matrix(report: Report) -> KillMatrix:
    """Every planted leak against every probe; of several runs of a twin the cited one, else the last hash, counts."""
    rows: dict[str, TwinRow] = {}
    for record in sorted(report.evidence.of("kill-matrix"), key=lambda item: (item.run in report.cited, item.run)):
        name, result = _text(record.config, "twin"), record.result
        rows[name] = TwinRow(
            name=name,
            leak_class=_text(result, "leak_class") or "unknown",
            named=_text(result, "named") or None,
            mechanism=_text(result, "mechanism"),
            origin=_text(result, "origin"),
            leaky=_verdicts(result.get("leaky")),
            clean=_verdicts(result.get("clean")),
            forwards={str(p): n for p, n in _mapping(result.get("forwards")).items() if isinstance(n, int)},
        )
    return KillMatrix(tuple(sorted(rows.values(), key=lambda row: (row.leak_class, row.name))))


def _cost_points(rows: Any) -> tuple[CostPoint, ...]:
    """The measured lengths, shortest first."""
    found = [_mapping(row) for row in rows] if isinstance(rows, list | tuple) else []
    points = [
        CostPoint(int(n), finite(r, "flops"), finite(r, "ms_median"), finite(r, "ms_low"), finite(r, "ms_high"))
        for r in found
        if (n := finite(r, "n")) is not None and n > 0
    ]
    return tuple(sorted(points, key=lambda point: point.n))


def layer_costs(report: Report) -> tuple[LayerCost, ...]:
    """One cost curve a layer, by name, of one setting; empty when none was measured."""
    costs: dict[str, LayerCost] = {}
    for record in next(iter(_settings(report, report.evidence.of("layer-cost"), "layer")), ()):
        slope = _mapping(record.result.get("ms_exponent"))
        layer = _text(record.config, "layer") or "unnamed"
        points = _cost_points(record.result.get("rows"))
        flops_exponent = finite(record.result, "flops_exponent")
        interval = (finite(slope, "slope"), finite(slope, "low"), finite(slope, "high"))
        costs.setdefault(layer, LayerCost(layer, points, flops_exponent, *interval))
    return tuple(costs[layer] for layer in sorted(costs))


def selection_attack(report: Report) -> tuple[SelectionRun, ...]:
    """The runs of the selection attack, by seed."""
    runs = [
        SelectionRun(
            seed=record.seed,
            run=record.run,
            gradient=_text(record.result, "gradient"),
            perturbation=_text(record.result, "perturbation"),
            audit=parse_audit(record.result.get("audit")),
        )
        for record in report.evidence.of("selection-attack")
    ]
    return tuple(sorted(runs, key=lambda run: (run.seed, run.run)))
