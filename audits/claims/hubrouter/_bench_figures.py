"""The bench as figures: time against length, both axes logarithmic, so that an exponent is a slope."""

from __future__ import annotations

from audits.claims.figures import CurvePoint, Curves, Series
from audits.claims.hubrouter._bench_tables import TITLES
from audits.experiments.bench._measured import BASE, HUB, Bench
from audits.experiments.bench._row import PASSES, Row

_STYLES = {HUB: "causal", BASE: "control", "projections": "control"}
_AXES = {"decode": ("position n", "milliseconds a token")}


def time_curves(bench: Bench) -> tuple[Curves, ...]:
    """A figure a pass that has times, a curve a layer."""
    return tuple(_curves(bench, passes) for passes in PASSES if any(row.ms for row in bench.of(passes)))


def _curves(bench: Bench, passes: str) -> Curves:
    x, y = _AXES.get(passes, ("tokens in a sequence n", "milliseconds"))
    timed = {name: [row for row in bench.of(passes, name) if row.ms] for name in bench.names}
    series = tuple(_series(name, rows) for name, rows in timed.items() if rows)
    note = f"{bench.place}; {bench.shape}. Medians of the rounds; their ranges are in the tables."
    return Curves(f"{TITLES[passes]}, measured", x, y, series, note, log_x=True, log_y=True)


def _series(name: str, rows: list[Row]) -> Series:
    points = tuple(CurvePoint(float(row.n), row.ms.median) for row in rows if row.ms is not None)
    return Series(name, _STYLES.get(rows[0].layer, "other"), points)
