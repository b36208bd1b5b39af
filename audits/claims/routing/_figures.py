"""The figures of the routing claims: learning curves and points of precision, with chance drawn in."""

from __future__ import annotations

from collections.abc import Sequence

from audits.claims.figures import CurvePoint, Curves, DotColumn, DotPoint, Dots, Reference, Series
from audits.claims.routing._runs import Cell

MOST = 6  # series in a figure, which must stay distinguishable


def curves_of(cells: Sequence[Cell]) -> tuple[Curves, ...]:
    """Learning curves, one figure a task and level of chance."""
    groups: dict[tuple[str, float], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.task, round(cell.average("chance"), 4)), []).append(cell)
    return tuple(
        learning_curves(f"Learning to route: {task}", part[start : start + MOST])
        for (task, _), part in groups.items()
        for start in range(0, len(part), MOST)
    )


def learning_curves(title: str, cells: Sequence[Cell]) -> Curves:
    """Precision over the sequences trained on, means over seeds with their range."""
    series = tuple(
        Series(f"{cell.row.name} ({len(cell.seeds)} seeds)", "causal" if cell.row.causal else "other", _curve(cell))
        for cell in cells
    )
    note = "Means over seeds at the tuned learning rate; bars reach from the lowest seed to the highest."
    references = levels(cells[0])
    return Curves(title, "sequences trained on", "routing precision", series, note, references=references)


def _curve(cell: Cell) -> tuple[CurvePoint, ...]:
    batch = 1 if cell.row.recipe == "bandit" else int(cell.seeds[0].config["batch"])
    columns = zip(*(record.result["curve"]["precision"] for record in cell.seeds), strict=False)
    steps = cell.seeds[0].result["curve"]["step"]
    return tuple(
        CurvePoint(batch * step, sum(values) / len(values), min(values), max(values))
        for step, values in zip(steps, columns, strict=False)
    )


def levels(cell: Cell) -> tuple[Reference, ...]:
    """What precision is read against: exact chance, and what content alone can reach with same-key distractors."""
    chance = Reference("exact chance", cell.average("chance"))
    return (chance,) if cell.ceiling is None else (chance, Reference("ceiling of content alone", cell.ceiling))


def precision_dots(title: str, cells: Sequence[Cell], note: str = "", *, tasks: bool = False) -> Dots:
    """Precision of each seed, mechanisms below each other; `tasks` names the task in each label."""
    columns = tuple(
        DotColumn(
            cell.name if tasks else cell.row.name,
            "causal" if cell.row.causal else "other",
            tuple(DotPoint(record.seed, float(record.result["precision"])) for record in cell.seeds),
        )
        for cell in cells
    )
    return Dots(title, "routing precision", columns, note, joined=False, references=levels(cells[0]))
