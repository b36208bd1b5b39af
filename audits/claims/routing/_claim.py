"""Claims that say of mechanisms whether they route: one rule, one form of judgement."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from audits.claims.claim import Claim, ClaimVerdict, Judgement
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
class Says:
    """What a claim says of a mechanism; on one of several tasks where the paper leaves open which it was."""

    check: Callable[[Cell, str], Check]
    row: str
    tasks: tuple[str, ...] = (FAR,)
    key: str = "precision"

    @property
    def words(self) -> str:
        """The same for the test that is printed beside the verdict."""
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


def mechanism_claim(id: str, statement: str, published: Mapping[str, str], *says: Says, **other: Any) -> Claim:  # noqa: A002
    """A claim on which mechanisms route and which do not: all that it says has to hold.

    Args:
        id: of the claim.
        statement: what was published.
        published: the numbers as printed.
        says: what it says of each mechanism.
        other: fields of `Claim` that differ from the usual.
    """
    wanted = [(item.row, task) for item in says for task in item.tasks]

    def rule(cells: Sequence[Cell]) -> Judgement:
        by_name = {(cell.row.name, cell.task): cell for cell in cells}
        checks = [[item.check(by_name[item.row, task], item.key) for task in item.tasks] for item in says]
        verdict = decide([either(readings) for readings in checks])
        flat = [check for readings in checks for check in readings]
        effect, needed = open_effect(flat)
        return Judgement(
            verdict,
            f"{'. '.join(dict.fromkeys(check.said for check in flat))} ({scale(cells)}).",
            "The paper's own generator, sizes and code; or a learning rate and length of training at which it differs.",
            minimum_detectable_effect=effect,
            seeds_needed=needed if verdict is ClaimVerdict.INCONCLUSIVE else None,
            evidence=runs_of(cells),
            tables=(cells_table(list(by_name.values())),),
            figures=curves_of(list(by_name.values())),
        )

    fields: dict[str, Any] = {
        "source": SOURCE,
        "test": f"{TEST} Here: {'; '.join(item.words for item in says)}.",
        "refuted_by": "One of these that does not hold in any of its readings.",
        "needs": NEEDS,
    }
    return Claim(id, statement, judge=judge_cells(wanted, rule), published=published, **(fields | other))
