"""The floors of the layers on a machine of given rates: arithmetic from their definitions, no measurement."""

from __future__ import annotations

from collections.abc import Iterable

from audits.experiments.bench import _floor as floor
from audits.experiments.bench._floor import Shape
from audits.experiments.bench._measured import Bench
from audits.experiments.bench._row import Ceilings
from audits.formatting import Table, number

LAYERS = {"hub": floor.hub, "attention": floor.attention, "projections": floor.projections}
LENGTHS = (1024, 4096, 8192, 32768)
PASSES = ("forward", "forward+backward")
ASSUMED = {"h200": Ceilings(790e12, 4.3e12)}  # bfloat16 products and a copy, measured elsewhere


def rates_of(machine: str, recorded: Iterable[Bench], matmul: float | None, copy: float | None) -> tuple[Ceilings, str]:
    """The rates of an assumed or a recorded machine, or given ones (GFLOP/s, GB/s), and whose they are.

    Raises:
        LookupError: nothing is known of the machine.
    """
    measured = {bench.machine: bench for bench in recorded}
    if machine not in {**ASSUMED, **measured}:
        raise LookupError(f"no rates of {machine} are known; there are {', '.join([*ASSUMED, *measured])}")
    tops = ASSUMED[machine] if machine in ASSUMED else highest(measured[machine])
    tops = Ceilings(1e9 * matmul if matmul else tops.flops, 1e9 * copy if copy else tops.bytes)
    kind = "assumed" if machine in ASSUMED else "measured"
    return tops, "given" if matmul and copy else f"{machine}, {kind}"


def highest(bench: Bench) -> Ceilings:
    """The rates that a recorded machine reached at most."""
    tops = [row.ceilings for row in bench.rows if row.ceilings is not None]
    return Ceilings(max(top.flops for top in tops), max(top.bytes for top in tops))


def roofline_sentence(shape: Shape, tops: Ceilings, machine: str) -> str:
    """What is estimated, and whose rates are taken."""
    return (
        f"An estimate, not a measurement: {machine}, {tops.flops / 1e9:,.0f} GFLOP/s, {tops.bytes / 1e9:,.0f} GB/s; "
        f"width {shape.d_model}, {shape.n_heads} heads, {shape.n_hubs} hubs, k {shape.k}, chunk {shape.chunk}, batch "
        f"{shape.batch}, {shape.dtype}."
    )


def roofline_table(shape: Shape, tops: Ceilings) -> Table:
    """A row a pass, length and layer."""
    rows = tuple(_row(shape, tops, (passes, n, name)) for passes in PASSES for n in LENGTHS for name in LAYERS)
    header = ("pass", "n", "layer", "GFLOP", "GB", "floor, ms", "ratio")
    return Table("Least times, and their ratio to attention's", header, rows)


def _row(shape: Shape, tops: Ceilings, at: tuple[str, int, str]) -> tuple[str, ...]:
    passes, n, name = at
    own, base = (floor.work(demand(shape), shape, n, passes) for demand in (LAYERS[name], floor.attention))
    least, reference = (work.seconds(tops.flops, tops.bytes) for work in (own, base))
    numbers = (own.flops / 1e9, own.bytes / 1e9, 1000 * least, least / reference)
    return (passes, str(n), name, *map(number, numbers))
