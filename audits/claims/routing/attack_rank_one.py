"""Attack on the companion paper: the rank-1 router compares no pairs."""

from collections.abc import Sequence

from audits.claims.claim import Claim, ClaimVerdict, Judgement, Kind
from audits.claims.routing._figures import precision_dots
from audits.claims.routing._runs import Cell, below, cells_table, decide, judge_cells, runs_of, scale
from audits.experiments.routing._plan import NAME, SEEDS
from audits.experiments.routing._task import FAR
from audits.formatting import Table
from audits.statistics.mean import mean_of_runs

MARGIN = 0.1  # of normalised precision (our choice)


def rule(cells: Sequence[Cell]) -> Judgement:
    """What the query's factor adds, paired by seed."""
    pairwise, alone = cells
    added = mean_of_runs([a - b for a, b in zip(pairwise.values(), alone.values(), strict=True)])
    low, high = added.interval.low, added.interval.high
    verdict = decide([below(added, MARGIN)])
    return Judgement(
        verdict,
        f"The query's factor adds {added.mean:+.2f} of normalised precision; without it the score reaches "
        f"{alone.mean().mean:.2f}.",
        "A query factor that changes which positions are picked, not only from which end.",
        ours=f"{added.mean:+.2f} ({low:+.2f} to {high:+.2f}), {added.n} seeds",
        minimum_detectable_effect=f"{added.half_width:.2f} of normalised precision ({added.n} paired seeds, 95 %)",
        seeds_needed=added.runs_to_resolve(abs(added.mean - MARGIN)) if verdict is ClaimVerdict.INCONCLUSIVE else None,
        details="f_i f_j orders positions by f_j, or the other way round where f_i is negative: the mixing layer has "
        f"to do the matching. With the query's factor normalised precision is {pairwise.mean().mean:.2f}, {added.n} "
        f"paired seeds, 95 % interval of the difference ({scale(cells)}).",
        evidence=runs_of(cells),
        tables=(_signs(), cells_table(cells)),
        figures=(precision_dots("The rank-1 score with and without the query", cells),),
    )


def _signs() -> Table:
    rows = (("positive", "largest f_j first"), ("negative", "smallest f_j first"), ("zero", "no order"))
    return Table("All that the query can say to a rank-1 score", ("sign of f_i", "order of the positions"), rows)


CLAIM = Claim(
    id="attack-routing-rank-one",
    statement="A rank-1 router compares no pairs: without the query's factor it routes as well.",
    source="our attack on arXiv:2603.20997: with two factors a query can but choose between two orders",
    kind=Kind.ATTACK,
    test=f"The rank-1 router and the same one without the query's factor, after one bidirectional layer, at "
    f"least {SEEDS} seeds, paired: SUPPORTED if the query's factor adds at most {MARGIN} of normalised "
    "precision (95 % interval), REFUTED if it adds more.",
    refuted_by="A query's factor that adds more.",
    judge=judge_cells([("attention, rank-1", FAR), ("attention, position alone", FAR)], rule),
    published={"rank-1": "98.8 %"},
    needs=(NAME,),
)
