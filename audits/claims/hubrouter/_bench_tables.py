"""The bench in tables and sentences: ratios to attention, times against floors, memory, exponents, what was not run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

from audits.claims.hubrouter._targets import TRAINING, hubs_by_speed
from audits.claims.judged import NO_RUN, Report
from audits.evidence.ledger import Record
from audits.experiments.bench._measured import BASE, PROJECTIONS, Bench
from audits.experiments.bench._row import PASSES, Row, Spread
from audits.experiments.bench.start_up import NAME as START_UP
from audits.formatting import MISSING, Table, count, number

HEADING = "Bench: the layer against others"
NOTHING = f"The bench is {NO_RUN}. `nox -s bench` runs it."
TITLES = {"forward": "Forward", TRAINING: "Forward + backward", "decode": "Decode step"}
NO_GPU = "Not verified on a GPU: no bench was recorded on one."
HOW = (
    "All layers of a length were timed in one run in turns, after a round that does not count: medians with lowest and "
    "highest. Ratios are taken within the rounds. The floor is the least time that the operations and the traffic "
    "which a layer's definition demands would take at the matmul and copy rates measured in the same run."
)


def gpu_sentence(benches: Sequence[Bench]) -> str:
    """That nothing was measured on a GPU; empty where something was."""
    return "" if any(bench.cuda for bench in benches) else NO_GPU


def stale_sentence(report: Report, bench: Bench) -> str:
    """How many of the runs were made by other code than today's; empty where none was."""
    old = len(report.stale.intersection(bench.runs))
    return f"Stale: {old} of {count(len(bench.runs), 'run')} were made by code that has changed since." if old else ""


def start_up_tables(report: Report) -> tuple[Table, ...]:
    """CPU seconds of starting the command line and of a small audit; none where they were not measured."""
    header = ("what", "median", "lowest", "highest")
    return tuple(Table("Starting: CPU seconds", header, _start_up_rows(r)) for r in report.evidence.latest(START_UP))


def _start_up_rows(record: Record) -> tuple[tuple[str, ...], ...]:
    measured = ((row["way"], sorted(row["seconds"])) for row in record.result["rows"])
    return tuple((way, number(median(s)), number(s[0]), number(s[-1])) for way, s in measured)


def setting_sentence(bench: Bench) -> str:
    """Machine, tier and sizes."""
    return f"{bench.place}; tier {bench.tier}; {bench.shape}."


def missing_sentence(bench: Bench) -> str:
    """What separates the hub layer from its floor at the longest length that was measured; empty without any."""
    hub = next(iter(hubs_by_speed(bench)), None)
    rows = [row for row in bench.of(TRAINING, hub) if row.ms and row.floor_ms] if hub else []
    if not rows:
        return ""
    row = rows[-1]
    took, floor = row.ms.median if row.ms else 0.0, row.floor_ms or 0.0
    sentence = (
        f"{hub}, forward + backward at n = {row.n}: {number(took)} ms measured, floor {number(floor)} ms (set by "
        f"{row.bound}), so {number(took - floor)} ms are missing."
    )
    shared = bench.at(TRAINING, f"{PROJECTIONS}/linear", row.n)
    if shared is None or shared.ms is None or shared.floor_ms is None:
        return sentence
    return (
        f"{sentence} Its projections alone take {number(shared.ms.median)} ms (floor {number(shared.floor_ms)}), all "
        f"between them {number(took - shared.ms.median)} ms."
    )


def ratio_table(bench: Bench, passes: str) -> Table:
    """Time over that of attention in the same round, a column a length."""
    return _by_length(bench, passes, f"{TITLES[passes]}: time relative to SDPA's, median (lowest to highest)", _ratio)


def memory_table(bench: Bench, passes: str) -> Table:
    """Peak memory, a column a length."""
    return _by_length(bench, passes, f"{TITLES[passes]}: peak memory of a step, MB beyond weights and input", _memory)


def full_table(bench: Bench, passes: str) -> Table:
    """Every measured row: times, floor, and the rates achieved."""
    header = (
        "layer", "n", "ms" if passes != "decode" else "ms a token", "lowest to highest", "floor, ms", "times the floor",
        "floor set by", "of matmul rate", "of copy rate",
    )  # fmt: skip
    rows = tuple(_measured(row) for row in bench.of(passes) if row.ms is not None)
    return Table(f"{TITLES[passes]}: measured, and what is missing to the floor", header, _by_layer(bench, rows))


def ceiling_table(bench: Bench) -> Table:
    """Measured rates, the lowest and highest over the runs."""
    found = {row.run: row.ceilings for row in bench.rows if row.ceilings is not None}.values()
    flops, copied = [top.flops / 1e9 for top in found], [top.bytes / 1e9 for top in found]
    rows = (("matmul, GFLOP/s", *_ends(flops)), ("copy, GB/s", *_ends(copied)))
    return Table("Ceilings measured in the same runs", ("", "lowest", "highest"), rows)


def exponent_table(bench: Bench) -> Table:
    """Slopes in log-log with 95 % intervals: over all lengths, and over those from 1024 to 8192."""
    rows = [
        (name, passes, _slope(bench, passes, name), _slope(bench, passes, name, 1024, 8192))
        for passes in PASSES
        for name in bench.names
        if bench.exponent(passes, name) is not None
    ]
    header = ("layer", "pass", "all lengths measured", "n = 1024 to 8192")
    return Table("Scaling exponent of the measured time, with its 95 % interval", header, tuple(rows))


def not_run_table(bench: Bench) -> Table:
    """Every row without a time, with the reason; lengths that share a reason together."""
    lengths: dict[tuple[str, str, str], list[str]] = {}
    for row in bench.rows:
        if row.ms is None:
            lengths.setdefault((row.name, row.passes, row.not_run or MISSING), []).append(str(row.n))
    rows = tuple((name, passes, ", ".join(ns), why) for (name, passes, why), ns in lengths.items())
    return Table("Not run", ("layer", "pass", "n", "why"), rows)


def _by_length(bench: Bench, passes: str, title: str, cell: Callable[[Row | None], str]) -> Table:
    """A row a layer; layers without any time are left to the table of what was not run."""
    kept = [name for name in bench.names if any(row.ms for row in bench.of(passes, name))]
    found = {name: {row.n: row for row in bench.of(passes, name)} for name in kept}
    rows = tuple((name, *(cell(found[name].get(n)) for n in bench.lengths)) for name in kept)
    return Table(title, ("layer", *(f"n = {n}" for n in bench.lengths)), rows)


def _ratio(row: Row | None) -> str:
    if row is None or row.ms is None:
        return "not run"
    if row.ratio is None:
        return f"no {BASE}"
    return number(row.ratio.median) + ("" if row.layer == BASE else f" ({_range(row.ratio)})")


def _memory(row: Row | None) -> str:
    if row is None or row.ms is None:
        return "not run"
    return MISSING if row.peak_bytes is None else number(row.peak_bytes / 1e6)


def _measured(row: Row) -> tuple[str, ...]:
    took = row.ms or Spread(0.0, 0.0, 0.0)
    floor = row.floor_ms
    return (
        row.name + (f" ({row.backend})" if row.backend else ""),
        str(row.n),
        number(took.median),
        _range(took),
        number(floor),
        MISSING if floor is None else number(took.median / floor),
        row.bound or MISSING,
        _percent(row.flop_share),
        _percent(row.byte_share),
    )


def _by_layer(bench: Bench, rows: Sequence[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    place = {name: index for index, name in enumerate(bench.names)}
    return tuple(sorted(rows, key=lambda cells: (place[cells[0].partition(" ")[0]], int(cells[1]))))


def _range(spread: Spread) -> str:
    return f"{number(spread.low)} to {number(spread.high)}"


def _percent(share: float | None) -> str:
    return MISSING if share is None else f"{100 * share:.0f} %"


def _ends(values: Sequence[float]) -> tuple[str, str]:
    return (number(min(values)), number(max(values))) if values else (MISSING, MISSING)


def _slope(bench: Bench, passes: str, name: str, low: int = 0, high: int = 2**62) -> str:
    found = bench.exponent(passes, name, low, high)
    return MISSING if found is None else f"{found.slope:.2f} [{found.low:.2f}, {found.high:.2f}]"
