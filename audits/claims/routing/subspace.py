"""Claim `routing-subspace`: the learned form of the router is low-dimensional, and its signal is no similarity."""

from collections.abc import Sequence
from functools import cache

import numpy as np

from audits.claims.claim import Claim, ClaimVerdict, Judgement
from audits.claims.figures import CurvePoint, Curves, Reference, Series
from audits.claims.routing._runs import SOURCE, Cell, below, decide, judge_cells, runs_of, scale
from audits.experiments.routing._plan import NAME, SEEDS
from audits.experiments.routing._task import FAR, MANY, PLAIN, VALUE
from audits.formatting import Table
from audits.statistics.mean import Mean, mean_of_runs

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
    form = [measured(cell) for cell in cells]
    said = [decide([below(used, SHARE), below(gap, 0.0)]) for used, gap in form]
    verdict = said[0] if len(set(said)) == 1 else ClaimVerdict.INCONCLUSIVE
    width = len(cells[0].seeds[0].result["spectrum"])
    dims, gaps = ([f"{100 * pair[at].mean:.0f}" for pair in form] for at in (0, 1))
    worst = max(form, key=lambda pair: pair[1].half_width)
    return Judgement(
        verdict,
        f"Over the readings {min(dims, key=int)} to {max(dims, key=int)} % of the dimensions hold the energy, with "
        f"cosine gaps of {min(gaps, key=int)} to {max(gaps, key=int)} hundredths.",
        "The paper's weights; at its width the untrained product already concentrates its energy.",
        minimum_detectable_effect=f"{worst[0].half_width:.2f} of the dimensions, "
        f"{worst[1].half_width:.2f} of the cosine ({worst[1].n} seeds, 95 %)",
        seeds_needed=_seeds(form) if verdict is ClaimVerdict.INCONCLUSIVE else None,
        details=". ".join(_described(cell, *pair, width) for cell, pair in zip(cells, form, strict=True))
        + f" ({scale(cells)}).",
        evidence=runs_of(cells),
        tables=(*(_table(cell) for cell in cells), _at_width(128)),
        figures=(_figure(cells[0], width),),
    )


def measured(cell: Cell) -> tuple[Mean, Mean]:
    """The share of dimensions that hold the energy, and the cosine gap."""
    spectra = [record.result["spectrum"] for record in cell.seeds]
    used = mean_of_runs([dimensions(spectrum) / len(spectrum) for spectrum in spectra])
    return used, mean_of_runs([float(record.result["cosine_gap"]) for record in cell.seeds])


def _seeds(form: Sequence[tuple[Mean, Mean]]) -> int:
    """Seeds that would settle each reading, as far as seeds can."""
    needed = [
        m.runs_to_resolve(abs(m.mean - bound)) for pair in form for m, bound in zip(pair, (SHARE, 0.0), strict=True)
    ]
    return max((n for n in needed if n is not None), default=SEEDS)


def _described(cell: Cell, used: Mean, gap: Mean, width: int) -> str:
    drawn = [dimensions(spectrum) for spectrum in untrained(width)]
    return (
        f"{cell.name}: {100 * ENERGY:.0f} % of the energy lies in {used.mean * width:.1f} of {width} dimensions (95 % "
        f"interval {used.interval.low * width:.1f} to {used.interval.high * width:.1f}, {used.n} seeds), where "
        f"untrained projections have {sum(drawn) / len(drawn):.1f}; the cosine of query and answer less that of other "
        f"tokens is {gap.mean:+.3f} ({gap.interval.low:+.3f} to {gap.interval.high:+.3f})"
    )


def _table(cell: Cell) -> Table:
    rows = tuple(
        (str(r.seed), str(dimensions(r.result["spectrum"])), f"{r.result['cosine_gap']:+.3f}",
         f"{100 * r.result['cosine']:.1f}", f"{100 * r.result['random_projection']:.1f}")
        for r in cell.seeds
    )  # fmt: skip
    header = ("seed", f"dimensions with {100 * ENERGY:.0f} %", "cosine gap", "precision by cosine, %",
              "precision by random projections, %")  # fmt: skip
    return Table(f"The trained router's form and representation: {cell.task}", header, rows)


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
    statement="The signal lies in 34 of 128 dimensions, and the cosine gap is negative.",
    source=SOURCE,
    test=f"{SEEDS} seeds of one attention layer: dimensions that hold {100 * ENERGY:.0f} % of the squared "
    "singular values of W_qᵀ W_k as a share of all, and the mean cosine of query and answer less that of query and "
    "other tokens; 95 % intervals. SUPPORTED if at most a third of the dimensions hold it and the gap is negative, "
    "whatever the distractors and target.",
    refuted_by="More than a third of the dimensions, or a gap above 0.",
    judge=judge_cells([("attention", task) for task in (FAR, MANY, PLAIN, VALUE)], rule),
    published={"dimensions with 90 % of the energy": "34 of 128", "cosine gap": "-0.154"},
    needs=(NAME,),
)
