"""Claim `routing-subspace`: the learned form of the router is low-dimensional, and its signal is no similarity."""

from collections.abc import Sequence
from functools import cache

import numpy as np

from audits.claims.claim import Claim, Judgement
from audits.claims.figures import CurvePoint, Curves, Reference, Series
from audits.claims.routing._runs import SOURCE, Cell, below, decide, judge_cells, runs_of, scale
from audits.experiments.routing._plan import NAME, SEEDS
from audits.experiments.routing._task import FAR
from audits.formatting import Table
from audits.statistics.mean import mean_of_runs

ENERGY = 0.9
SHARE = 1 / 3  # of all dimensions: what counts as low-dimensional (our choice; the paper has 34 of 128)
DRAWS = 20  # untrained forms, to compare the trained ones with


def energies(spectrum: Sequence[float]) -> list[float]:
    """Cumulative share of the energy, squared singular values, of the first dimensions."""
    squares = np.sort(np.asarray(spectrum, dtype=np.float64) ** 2)[::-1]
    return [float(value) for value in np.cumsum(squares) / squares.sum()]


def dimensions(spectrum: Sequence[float]) -> int:
    """How many dimensions hold 90 % of the energy."""
    return 1 + sum(share < ENERGY for share in energies(spectrum))


@cache
def untrained(width: int) -> list[list[float]]:
    """Spectra of the product of two projections as they are initialised: uniform and independent entries."""
    generator = np.random.default_rng(0)
    drawn = generator.uniform(-1, 1, (DRAWS, 2, width, width))
    return [np.linalg.svd(query.T @ key, compute_uv=False).tolist() for query, key in drawn]


def rule(cells: Sequence[Cell]) -> Judgement:
    """The share of dimensions, and the sign of the cosine gap."""
    (cell,) = cells
    spectra = [record.result["spectrum"] for record in cell.seeds]
    width = len(spectra[0])
    used = mean_of_runs([dimensions(spectrum) / width for spectrum in spectra])
    gap = mean_of_runs([float(record.result["cosine_gap"]) for record in cell.seeds])
    drawn = [dimensions(spectrum) for spectrum in untrained(width)]
    low_dimensional = below(used, SHARE)
    return Judgement(
        decide([low_dimensional, below(gap, 0.0)]),
        f"{100 * ENERGY:.0f} % of the energy lies in {used.mean * width:.1f} of {width} dimensions (95 % interval "
        f"{used.interval.low * width:.1f} to {used.interval.high * width:.1f}, {used.n} seeds), where untrained "
        f"projections have {sum(drawn) / len(drawn):.1f}; the cosine of query and answer less that of other tokens is "
        f"{gap.mean:+.3f} ({gap.interval.low:+.3f} to {gap.interval.high:+.3f}) ({scale(cells)}).",
        "The paper's weights; at its width the untrained product already concentrates its energy.",
        minimum_detectable_effect=f"{used.half_width:.2f} of the dimensions, "
        f"{gap.half_width:.2f} of the cosine ({used.n} seeds, 95 %)",
        evidence=runs_of(cells),
        tables=(_table(cell), _at_width(128)),
        figures=(_figure(cell, width),),
    )


def _table(cell: Cell) -> Table:
    rows = tuple(
        (str(r.seed), str(dimensions(r.result["spectrum"])), f"{r.result['cosine_gap']:+.3f}",
         f"{100 * r.result['cosine']:.1f}", f"{100 * r.result['random_projection']:.1f}")
        for r in cell.seeds
    )  # fmt: skip
    header = ("seed", f"dimensions with {100 * ENERGY:.0f} %", "cosine gap", "precision by cosine, %",
              "precision by random projections, %")  # fmt: skip
    return Table("The trained router's form and representation", header, rows)


def _at_width(width: int) -> Table:
    drawn = [dimensions(spectrum) for spectrum in untrained(width)]
    row = (str(width), f"{min(drawn)} to {max(drawn)}", "34")
    header = ("width", f"untrained, {DRAWS} draws", "printed for the trained form")
    return Table(f"Dimensions with {100 * ENERGY:.0f} % of the energy at the paper's width", header, (row,))


def _figure(cell: Cell, width: int) -> Curves:
    trained = [energies(record.result["spectrum"]) for record in cell.seeds]
    drawn = [energies(spectrum) for spectrum in untrained(width)]
    series = (_series("trained", "other", trained), _series("untrained projections", "control", drawn))
    references = (Reference(f"{100 * ENERGY:.0f} % of the energy", ENERGY),)
    title = "The energy of the router's form by dimensions"
    note = "Means; bars reach from the lowest to the highest."
    return Curves(title, "dimensions", "share of the energy", series, note, references=references)


def _series(label: str, style: str, curves: Sequence[Sequence[float]]) -> Series:
    every = range(0, len(curves[0]), max(1, len(curves[0]) // 16))
    columns = [(index + 1, [curve[index] for curve in curves]) for index in every]
    return Series(label, style, tuple(CurvePoint(x, sum(ys) / len(ys), min(ys), max(ys)) for x, ys in columns))


CLAIM = Claim(
    id="routing-subspace",
    statement="The signal lies in a subspace of 34 of 128 dimensions, and the cosine gap is negative.",
    source=SOURCE,
    test=f"At least {SEEDS} seeds of one attention layer: dimensions that hold {100 * ENERGY:.0f} % of the squared "
    "singular values of W_qᵀ W_k as a share of all, and the mean cosine of query and answer less that of query and "
    "other tokens; 95 % intervals. SUPPORTED if at most a third of the dimensions hold it and the gap is negative.",
    refuted_by="More than a third of the dimensions, or a gap above 0.",
    judge=judge_cells([("attention", FAR)], rule),
    published={"dimensions with 90 % of the energy": "34 of 128", "cosine gap": "-0.154"},
    needs=(NAME,),
)
