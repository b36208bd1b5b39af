"""Attack on the companion paper: reading the answer is not yet predicting it."""

import math
from collections.abc import Sequence

from audits.claims.claim import Claim, ClaimVerdict, Judgement, Kind
from audits.claims.figures import DotColumn, Dots, Reference
from audits.claims.routing._runs import Cell, cells_table, judge_cells, routes, runs_of, scale
from audits.experiments.routing._plan import NAME, SEEDS
from audits.experiments.routing._rows import rows
from audits.experiments.routing._task import FAR, TASKS
from audits.statistics.mean import Mean, mean_of_runs

GAP = 0.1  # of all questions: what counts as the same (our choice)


def gap(cell: Cell) -> Mean:
    """Precision less accuracy, both shares of the same questions."""
    read, right = cell.average("precision"), cell.average("accuracy")
    asked = int(cell.seeds[0].config["held_out"])
    error = math.sqrt((read * (1 - read) + right * (1 - right)) / asked)
    return mean_of_runs([r.result["precision"] - r.result["accuracy"] for r in cell.seeds], error)


def rule(cells: Sequence[Cell]) -> Judgement:
    """Every mechanism that routes."""
    routing = [cell for cell in cells if routes(cell).holds and cell.row.recipe != "bandit"]
    gaps = [gap(cell) for cell in routing]
    if any(found.interval.low > GAP for found in gaps):
        verdict = ClaimVerdict.REFUTED
    elif gaps and all(found.interval.high <= GAP for found in gaps):
        verdict = ClaimVerdict.SUPPORTED
    else:
        verdict = ClaimVerdict.INCONCLUSIVE
    widest = max((found.half_width for found in gaps), default=math.nan)
    pairs = zip(routing, gaps, strict=True)
    far = max(pairs, key=lambda pair: pair[1].mean, default=None)
    return Judgement(
        verdict,
        f"{len(routing)} mechanisms route here; "
        + (
            f"of {far[0].row.name} precision exceeds accuracy by {100 * far[1].mean:.0f} points (95 % interval "
            f"{100 * far[1].interval.low:.0f} to {100 * far[1].interval.high:.0f}). "
            if far
            else ""
        )
        + f"The paper prints 99.5 % with an accuracy of 32.2, and 98.4 with 74.5 ({scale(cells)}: too short a "
        "training for the head, which is part of the point).",
        "Training until the head has learned what the router found.",
        minimum_detectable_effect=f"{widest:.2f} of all questions ({SEEDS} seeds, 95 %)",
        evidence=runs_of(cells),
        tables=(cells_table(cells),),
        figures=(_figure(routing),) if routing else (),
    )


def _figure(cells: Sequence[Cell]) -> Dots:
    columns = [
        DotColumn(f"{cell.row.name}: {key}", style, tuple((r.seed, float(r.result[key])) for r in cell.seeds))
        for cell in cells
        for key, style in (("precision", "other"), ("accuracy", "control"))
    ]
    values = TASKS[str(cells[0].seeds[0].config["tier"])][FAR].vocab_size - 1
    references = (Reference("accuracy by chance", 1 / values),)
    return Dots(
        "What is read and what is predicted", "share of questions", tuple(columns), joined=False, references=references
    )


CLAIM = Claim(
    id="attack-routing-accuracy",
    statement="Routing precision is a proxy for task accuracy.",
    source="our attack on arXiv:2603.20997, which argues by precision and prints accuracy in brackets",
    kind=Kind.ATTACK,
    test=f"Every mechanism that routes, at least {SEEDS} seeds: precision less accuracy on the same questions, 95 % "
    f"interval. REFUTED if it lies above {GAP} for one of them, SUPPORTED if it lies below for all.",
    refuted_by="A mechanism that reads the answer and does not predict it.",
    judge=judge_cells([(name, FAR) for name in rows("full")], rule),
    published={"bidirectional Mamba": "99.5 % (accuracy 32.2 %)", "attention": "98.4 % (accuracy 74.5 %)"},
    needs=(NAME,),
)
