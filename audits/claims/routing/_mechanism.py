"""The rule behind the table in `mechanisms.py`: what a claim asserts of each mechanism, and how its runs judge it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from audits.claims.claim import Claim, ClaimVerdict, Judgement, Kind
from audits.claims.routing._figures import curves_of
from audits.claims.routing._runs import (
    CHANCE,
    NEEDS,
    PLATEAU,
    ROUTES,
    SEEDS,
    SOURCE,
    Cell,
    Check,
    at_chance,
    cells_table,
    decide,
    either,
    judge_cells,
    open_effect,
    routes,
    runs_of,
    scale,
    short_of,
)
from audits.experiments.routing._task import FAR
from audits.experiments.routing.long import TIMES

_WORDS = {routes.__name__: "routes", at_chance.__name__: "is at chance", short_of.__name__: "does not route"}


@dataclass(frozen=True)
class Assertion:
    """What a claim asserts of one mechanism; any of `tasks` may hold it where the paper leaves open which it was.

    Attributes:
        check: `routes`, `at_chance` or `short_of`.
        row: the mechanism, by its name in the experiment.
        tasks: on which it was run.
        key: the result whose precision is meant.
    """

    check: Callable[[Cell, str], Check]
    row: str
    tasks: tuple[str, ...] = (FAR,)
    key: str = "precision"

    @property
    def words(self) -> str:
        """The same for the test that is printed with the verdict."""
        what = _WORDS[self.check.__name__]
        named = "random projections of " if self.key == "random_projection" else ""
        return f"{named}{self.row} {what} ({' or '.join(self.tasks)})"


TEST = (
    f"At least {SEEDS} seeds at one learning rate, the first seed at two others too; precision on held-out questions, "
    f"normalised so that exact chance is 0, with a 95 % interval over seeds and questions. A mechanism routes where "
    f"the interval lies from {ROUTES} on; it does not where interval, learning rates and the first seed trained "
    f"{TIMES} times as long stay below it, longer training having brought at most {PLATEAU} (a condition "
    f"added after the first runs, in favour of the open verdict); it is at chance where "
    f"they stay up to {CHANCE}."
)


def mechanism_claim(
    claim_id: str,
    statement: str,
    published: Mapping[str, str],
    *assertions: Assertion,
    source: str = SOURCE,
    kind: Kind = Kind.PUBLISHED,
) -> Claim:
    """A claim on which mechanisms route and which do not: everything that it asserts has to hold."""
    wanted = [(item.row, task) for item in assertions for task in item.tasks]
    return Claim(
        claim_id,
        statement,
        source=source,
        test=f"{TEST} Here: {'; '.join(item.words for item in assertions)}.",
        refuted_by="One of these that does not hold in any of its readings.",
        judge=judge_cells(wanted, partial(_judge, assertions)),
        published=published,
        needs=NEEDS,
        kind=kind,
    )


def _judge(assertions: Sequence[Assertion], cells: Sequence[Cell]) -> Judgement:
    by_name = {(cell.row.name, cell.task): cell for cell in cells}
    readings = [[item.check(by_name[item.row, task], item.key) for task in item.tasks] for item in assertions]
    checks = [check for group in readings for check in group]
    verdict = decide([either(group) for group in readings])
    effect, needed = open_effect(checks)
    distinct = list(by_name.values())
    return Judgement(
        verdict,
        f"{'. '.join(dict.fromkeys(check.text for check in checks))} ({scale(cells)}).",
        "The paper's own generator, sizes and code; or a learning rate and length of training at which it differs.",
        minimum_detectable_effect=effect,
        seeds_needed=needed if verdict is ClaimVerdict.INCONCLUSIVE else None,
        evidence=runs_of(cells),
        tables=(cells_table(distinct),),
        figures=curves_of(distinct),
    )
