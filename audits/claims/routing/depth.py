"""Claim `routing-depth`: more than one layer brings nothing."""

from collections.abc import Sequence

from audits.claims.claim import Claim, ClaimVerdict, Judgement
from audits.claims.routing._figures import precision_dots
from audits.claims.routing._runs import SOURCE, Cell, below, cells_table, decide, judge_cells, runs_of, scale
from audits.experiments.routing._plan import NAME, SEEDS
from audits.experiments.routing._task import FAR
from audits.formatting import Table
from audits.statistics.mean import Mean, mean_of_runs

MARGIN = 0.05  # of normalised precision: what counts as a gain (our choice)
ROWS = ("attention", "attention, 2 layers", "attention, 4 layers")


def gain(deep: Cell, one: Cell) -> Mean:
    """Normalised precision of more layers less that of one, paired by seed; the questions are the same."""
    return mean_of_runs([more - less for more, less in zip(deep.values(), one.values(), strict=True)])


def rule(cells: Sequence[Cell]) -> Judgement:
    """Both depths against one layer."""
    one, *deeper = cells
    gains = [gain(cell, one) for cell in deeper]
    verdict = decide([below(found, MARGIN) for found in gains])
    worst = max(gains, key=lambda found: found.interval.high)
    said = "; ".join(f"{c.row.layers} layers {_text(found)}" for c, found in zip(deeper, gains, strict=True))
    return Judgement(
        verdict,
        f"More layers than one gain at most {worst.interval.high:+.3f} of normalised precision.",
        "A task that one layer does not solve.",
        ours=f"{worst.mean:+.3f} ({worst.interval.low:+.3f} to {worst.interval.high:+.3f}), {worst.n} seeds",
        minimum_detectable_effect=f"{worst.half_width:.2f} ({worst.n} pairs, 95 %)",
        seeds_needed=worst.runs_to_resolve(MARGIN) if verdict is ClaimVerdict.INCONCLUSIVE else None,
        details=f"One layer has {one.mean().mean:.2f}; the gain is {said} ({scale(cells)}). Near the ceiling no gain "
        "can show: this does not say that depth is useless on a harder task.",
        evidence=runs_of(cells),
        tables=(_table(deeper, gains), cells_table(cells)),
        figures=(precision_dots("Routing precision by depth", cells),),
    )


def _text(found: Mean) -> str:
    return f"{found.mean:+.3f} (95 % interval {found.interval.low:+.3f} to {found.interval.high:+.3f})"


def _table(deeper: Sequence[Cell], gains: Sequence[Mean]) -> Table:
    rows = tuple((str(cell.row.layers), _text(found)) for cell, found in zip(deeper, gains, strict=True))
    return Table("Gain over one layer, paired by seed", ("layers", "normalised precision"), rows)


CLAIM = Claim(
    id="routing-depth",
    statement="Two to four Transformer layers gain nothing over one.",
    source=SOURCE,
    test=f"{SEEDS} seeds, normalised precision of 2 and of 4 layers less that of one, paired by seed, 95 % "
    f"interval. SUPPORTED if both lie below a gain of {MARGIN}.",
    refuted_by=f"An interval above a gain of {MARGIN} at either depth.",
    judge=judge_cells([(name, FAR) for name in ROWS], rule),
    published={"2 to 4 layers": "no gain"},
    needs=(NAME,),
)
