"""Attack on the companion paper: some of its failures, and its memory banks, are the exact level of chance."""

from collections.abc import Sequence

from audits.claims.claim import Claim, ClaimVerdict, Judgement, Kind
from audits.claims.figures import Dots
from audits.claims.routing._figures import precision_dots
from audits.claims.routing._runs import CHANCE, Cell, cells_table, chance_of, judge_cells, runs_of, scale
from audits.experiments.routing._plan import NAME
from audits.experiments.routing._task import FAR
from audits.formatting import Table
from hubrouter.diagnostic.scores import normalised

OURS = ("segments-causal", "segments", "segments, maximum", "memory banks")
PRINTED = (
    ("segment routing, unidirectional", 0.238, 16, 4),
    ("segment routing, bidirectional", 0.256, 16, 4),
    ("MQAR, raw embeddings", 0.256, 16, 4),
    ("MQAR, unidirectional Flow", 0.242, 16, 4),
    ("memory banks", 0.12, 16, 2),
    ("distant evidence, raw embeddings", 0.012, 512, 8),
)


def rule(cells: Sequence[Cell]) -> Judgement:
    """By the printed numbers; runs of ours are shown for comparison."""
    values = [normalised(found, chance_of(units, picked)) for _, found, units, picked in PRINTED]
    said = ", ".join(f"{cell.row.name} {cell.mean().mean:.2f}" for cell in cells)
    return Judgement(
        ClaimVerdict.REFUTED if max(values) <= CHANCE else ClaimVerdict.SUPPORTED,
        f"Normalised by exact chance the printed numbers lie between {min(values):+.3f} and {max(values):+.3f}, where "
        "0 is chance and 1 is always: 23.8 and 25.6 % are 4 of 16 picked blindly, 12 % are 2 of 16. Our runs, "
        f"normalised, which do not decide: {said} ({scale(cells)}).",
        "The paper's number of units picked, if it is not what it says.",
        evidence=runs_of(cells),
        tables=(_table(values), cells_table(cells)),
        figures=_figures(cells),
    )


def _table(values: list[float]) -> Table:
    rows = tuple(
        (name, f"{100 * found:.1f}", f"{picked} of {units}", f"{100 * chance_of(units, picked):.1f}", f"{value:+.3f}")
        for (name, found, units, picked), value in zip(PRINTED, values, strict=True)
    )
    return Table(
        "Printed precision against exact chance", ("row", "printed, %", "picked", "chance, %", "normalised"), rows
    )


def _figures(cells: Sequence[Cell]) -> tuple[Dots, ...]:
    groups: dict[float, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(round(cell.average("chance"), 3), []).append(cell)
    return tuple(
        precision_dots(f"Our runs where chance is {100 * chance:.1f} %", part) for chance, part in groups.items()
    )


CLAIM = Claim(
    id="attack-routing-chance",
    statement="Segment routing, the failures on MQAR and memory banks route better than chance: 12 to 25.6 %.",
    source="our attack on arXiv:2603.20997, which prints these numbers next to precisions with a chance of 1.6 %",
    kind=Kind.ATTACK,
    test=f"The printed numbers normalised by the exact chance of the units picked (4 of 16, 2 of 16): REFUTED if none "
    f"exceeds {CHANCE}. Our own runs of these mechanisms are shown for comparison and do not decide.",
    refuted_by="Normalised values about 0.",
    judge=judge_cells([(name, FAR) for name in OURS], rule),
    published={"segment routing": "23.8, 25.6 %", "MQAR": "25.6, 24.2 %", "memory banks": "12 %"},
    needs=(NAME,),
)
