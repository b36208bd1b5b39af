"""What the bench adds to the cards of claims: measured exponents, and ratios of single layers by baseline."""

from __future__ import annotations

from dataclasses import dataclass, replace

from audits.claims.claim import Judgement
from audits.evidence.ledger import Evidence
from audits.experiments.bench._measured import HUB, Bench, benches
from audits.formatting import Table
from audits.statistics.scaling import Exponent

TRAINING = "forward+backward"
BASELINES = ("attention", "mamba", "sliding-window")


@dataclass(frozen=True)
class Growth:
    """How the training step of one hub implementation grows on one machine, from three lengths on."""

    name: str
    place: str
    exponent: Exponent


def growths(evidence: Evidence) -> tuple[Growth, ...]:
    """One a machine and implementation; empty where the bench was not run."""
    found = ((bench, name, bench.exponent(TRAINING, name)) for bench in benches(evidence) for name in _hubs(bench))
    return tuple(Growth(name, bench.place, exponent) for bench, name, exponent in found if exponent is not None)


def growth_runs(evidence: Evidence) -> tuple[str, ...]:
    """Addresses of the runs behind them."""
    rows = (row for bench in benches(evidence) for name in _hubs(bench) for row in bench.of(TRAINING, name))
    return tuple(sorted({row.run for row in rows if row.ms is not None}))


def growth_table(found: tuple[Growth, ...]) -> Table:
    """The exponents with their intervals."""
    rows = tuple(
        (g.name, g.place, f"{g.exponent.slope:.2f} [{g.exponent.low:.2f}, {g.exponent.high:.2f}]") for g in found
    )
    return Table("Measured exponent in the bench, forward and backward", ("layer", "machine", "slope [interval]"), rows)


def with_layer_ratios(judgement: Judgement, evidence: Evidence) -> Judgement:
    """The judgement with the bench's ratios added; they are of single layers and decide nothing about models."""
    return replace(judgement, tables=(*judgement.tables, *map(_ratios, benches(evidence))))


def _ratios(bench: Bench) -> Table:
    """How many times as long each baseline takes as each hub implementation, a column a length."""
    pairs = [(hub, name) for hub in _hubs(bench) for name in bench.names if name.partition("/")[0] in BASELINES]
    rows = tuple(
        (f"{hub} against {name}", *(_times(bench, hub, name, n) for n in bench.lengths)) for hub, name in pairs
    )
    title = f"Single layers in the bench: times the baseline's training speed; {bench.place}, {bench.shape}"
    return Table(title, ("compared", *(f"n = {n}" for n in bench.lengths)), rows)


def _times(bench: Bench, hub: str, name: str, n: int) -> str:
    own, other = bench.at(TRAINING, hub, n), bench.at(TRAINING, name, n)
    if own is None or own.ms is None or other is None or other.ms is None:
        return "not run"
    return f"{other.ms.median / own.ms.median:.3g}x"


def _hubs(bench: Bench) -> list[str]:
    return [name for name in bench.names if name.partition("/")[0] == HUB]
