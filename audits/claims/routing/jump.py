"""Claim `routing-jump`: routing is learned all at once."""

from collections.abc import Sequence
from itertools import pairwise

from audits.claims.claim import Claim, ClaimVerdict, Judgement
from audits.claims.figures import CurvePoint, Curves, Series
from audits.claims.routing._figures import levels
from audits.claims.routing._runs import SOURCE, Cell, judge_cells, runs_of, scale
from audits.evidence.ledger import Record
from audits.experiments.routing._plan import LONGER, NAME, SEEDS
from audits.experiments.routing._task import FAR
from audits.formatting import Table
from audits.statistics.mean import mean_of_runs

EPOCH = 8000  # sequences of one of the paper's epochs
MOST = 0.5  # of the whole rise within one epoch: what counts as a jump (our choice)


def share_in(record: Record, sequences: int) -> float:
    """The largest rise of precision over so many sequences, as a share of the whole rise; 0 without a rise."""
    points = _points(record)
    whole = max(y for _, y in points) - points[0][1]
    rises = [later - y for x, y in points for at, later in points if 0 < at - x <= sequences]
    return max(rises) / whole if whole > 0 else 0.0


def steepest(record: Record) -> tuple[float, float]:
    """The sequences at which the steepest rise between two evaluations ends, and that rise."""
    return max(((after[0], after[1] - before[1]) for before, after in pairwise(_points(record))), key=lambda p: p[1])


def _points(record: Record) -> list[tuple[float, float]]:
    curve, batch = record.result["curve"], int(record.config["batch"])
    return [(batch * step, value) for step, value in zip(curve["step"], curve["precision"], strict=True)]


def rule(cells: Sequence[Cell]) -> Judgement:
    """The share of the rise that falls into one epoch's sequences, over seeds."""
    (cell,) = cells
    shares = [share_in(record, EPOCH) for record in cell.seeds]
    found = mean_of_runs(shares)
    low, high = found.interval.low, found.interval.high
    verdict = (
        ClaimVerdict.SUPPORTED if low >= MOST else ClaimVerdict.REFUTED if high < MOST else ClaimVerdict.INCONCLUSIVE
    )
    total = int(cell.seeds[0].config["steps"]) * int(cell.seeds[0].config["batch"])
    return Judgement(
        verdict,
        f"Of the whole rise {100 * found.mean:.0f} % falls into one epoch, where a straight line has "
        f"{100 * min(1, EPOCH / total):.0f} %.",
        "The paper's curves between the epochs.",
        ours=f"{found.mean:.2f} of the rise ({low:.2f} to {high:.2f}), {found.n} seeds",
        minimum_detectable_effect=f"{found.half_width:.2f} of the rise ({found.n} seeds, 95 %)",
        seeds_needed=found.runs_to_resolve(abs(found.mean - MOST)) if verdict is ClaimVerdict.INCONCLUSIVE else None,
        details=f"An epoch of the paper has {EPOCH} sequences. The share is {found.mean:.2f} (95 % interval {low:.2f} "
        f"to {high:.2f}, {found.n} seeds; {scale(cells)}). Within one epoch the rise has steps: what content alone "
        "achieves comes first.",
        evidence=runs_of(cells),
        tables=(_table(cell),),
        figures=(_figure(cell),),
    )


def _table(cell: Cell) -> Table:
    rows = []
    for record in cell.seeds:
        at, rise = steepest(record)
        rows.append((str(record.seed), f"{at:.0f}", f"{rise:+.2f}", f"{share_in(record, EPOCH):.2f}"))
    header = ("seed", "sequences at the steepest rise", "that rise", f"share of the rise within {EPOCH}")
    return Table("Where precision rises", header, tuple(rows))


def _figure(cell: Cell) -> Curves:
    series = tuple(
        Series(f"seed {record.seed}", "other", tuple(CurvePoint(x, y) for x, y in _points(record)))
        for record in cell.seeds
    )
    title = "The jump: one layer of attention, seed by seed"
    return Curves(title, "sequences trained on", "routing precision", series, references=levels(cell))


CLAIM = Claim(
    id="routing-jump",
    statement="One attention layer's routing precision jumps from 2.8 to 99.4 % within one epoch.",
    source=SOURCE,
    test=f"{SEEDS} seeds, {LONGER['attention']} times as long as usual: the largest rise of held-out precision over "
    f"{EPOCH} sequences, the paper's epoch, as a share of the whole rise, 95 % interval. SUPPORTED from {MOST} on.",
    refuted_by=f"A share below {MOST}: precision that rises gradually over several epochs.",
    judge=judge_cells([("attention", FAR, LONGER["attention"])], rule),
    published={"within epoch 10": "2.8 to 99.4 %"},
    needs=(NAME,),
)
