"""The rule behind the table in `mechanisms.py`: what a claim asserts of each mechanism, and how its runs judge it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from audits.claims.claim import Claim, ClaimVerdict, Judgement, Kind, no_run_yet
from audits.claims.routing._figures import curves_of
from audits.claims.routing._runs import (
    CHANCE,
    PLATEAU,
    ROUTES,
    SOURCE,
    Cell,
    Check,
    agreed,
    at_chance,
    cells_table,
    decide,
    interval_text,
    judge_cells,
    no_better,
    open_effect,
    precision_text,
    routes,
    routing_runs,
    runs_of,
    scale,
    short_of,
    stays_above,
)
from audits.evidence.ledger import Evidence
from audits.experiments.routing._plan import BANDIT_SEEDS, NAME, RATES, SEEDS, arms
from audits.experiments.routing._task import FAR, FEW, MANY, MQAR, MQAR_VALUE, PLAIN, SMALL, VALUE, WIDE

# What a check says where it holds, and where it does not.
_WORDS = {
    routes.__name__: ("routes", "does not route"),
    at_chance.__name__: ("is at chance", "is above chance"),
    stays_above.__name__: ("is above chance", "is at chance"),
    short_of.__name__: ("does not route", "routes"),
    no_better.__name__: ("finds no more than content alone", "finds more than content alone"),
}
READING = {
    FAR: "8 like distractors",
    FEW: "4 like distractors",
    MANY: "32 like distractors",
    PLAIN: "distractors of other keys",
    VALUE: "the value as target",
    WIDE: "512 tokens",
    SMALL: "32 token values",
    MQAR: "MQAR's keys as targets",
    MQAR_VALUE: "MQAR's values as targets",
}


@dataclass(frozen=True)
class Assertion:
    """What a claim asserts of one mechanism: in every reading, each a version of the mechanism on one of the task.

    Attributes:
        check: `routes`, `at_chance`, `stays_above`, `short_of` or `no_better`.
        row: the mechanism, by its name in the experiment.
        tasks: on which it was run.
        key: the result whose precision is meant.
        also: other versions of the mechanism, of which the paper may speak too.
    """

    check: Callable[[Cell, str], Check]
    row: str
    tasks: tuple[str, ...] = (FAR,)
    key: str = "precision"
    also: tuple[str, ...] = ()

    def wanted(self, tier: str) -> tuple[tuple[str, str], ...]:
        """The mechanisms and tasks of it that are run at a tier."""
        run = {(arm.name, arm.task) for arm in arms(tier)}
        every = ((row, task) for row in (self.row, *self.also) for task in self.tasks)
        return tuple(pair for pair in every if pair in run)

    @property
    def words(self) -> str:
        """The same for the test that is printed with the verdict."""
        rows = ", ".join((self.row, *self.also))
        return f"{self.named(rows)} {_WORDS[self.check.__name__][0]} ({'; '.join(READING[t] for t in self.tasks)})"

    def named(self, row: str) -> str:
        """The mechanism in words."""
        return f"random projections of {row}" if self.key == "random_projection" else row

    def unread(self, holds: bool | None, run: Collection[str]) -> str | None:
        """The reading that this outcome needs and that is not among those that were run.

        Content goes furthest where distractors carry other keys, and least far among 32 like ones.
        """
        if holds is None or self.check in (no_better, stays_above) or self.tasks[0].startswith(MQAR):
            return None
        needed = MANY if holds == (self.check is routes) else PLAIN
        return None if needed in run else needed


@dataclass(frozen=True)
class Finding:
    """An assertion with what its readings gave, in one sentence where they decide nothing."""

    assertion: Assertion
    checks: tuple[Check, ...]

    @property
    def holds(self) -> bool | None:
        """What all readings agree on, the decisive one included."""
        return None if self.unread else agreed(self.checks)

    @property
    def unread(self) -> str | None:
        """The reading that what was run lacks."""
        return self.assertion.unread(agreed(self.checks), {check.cell.task for check in self.checks})

    @property
    def why_open(self) -> str:
        """The reading that decides."""
        yes, no = ([check for check in self.checks if check.holds is said] for said in (True, False))
        if yes and no:
            held, lost = _WORDS[self.assertion.check.__name__]
            row = self.assertion.named(self.assertion.row)
            return f"By reading {row} {held} ({_at(yes[0])}), or {lost} ({_at(no[0])})."
        if self.unread:
            return f"{self.assertion.named(self.assertion.row)} was not run with {READING[self.unread]}, which decides."
        check = next(check for check in self.checks if check.holds is None)
        return f"{check.cell.row.name} stays open with {_at(check)}: normalised precision {check.mean.mean:.2f}."


def _at(check: Check) -> str:
    bare = "" if check.cell.row.positions else ", no positions"
    return READING[check.cell.task] + bare


TEST = (
    f"{SEEDS} seeds, {BANDIT_SEEDS} of bandits, at the best of {len(RATES)} learning rates, chosen with another seed "
    "and other questions; precision on held-out questions, normalised so that exact chance is 0, with a 95 % interval "
    f"over seeds and questions. A mechanism routes where the interval lies from {ROUTES} on; it does not where "
    f"interval, learning rates and longer training stay below it, longer training having brought at most {PLATEAU}; it "
    f"is at chance where they stay up to {CHANCE}. What the paper leaves open is judged in every reading, and all have "
    "to agree."
)


def mechanism_claim(
    claim_id: str,
    statement: str,
    published: Mapping[str, str],
    *assertions: Assertion,
    source: str = SOURCE,
    kind: Kind = Kind.PUBLISHED,
    untestable: str = "",
    undecided: str = "",
    at_paper: tuple[Assertion, ...] = (),
) -> Claim:
    """A claim on which mechanisms route and which do not: everything that it asserts has to hold.

    Args:
        claim_id: its id.
        statement: what was published.
        published: the numbers as printed.
        assertions: what it says of each mechanism.
        source: where it stands.
        kind: whose claim it is.
        untestable: the sentence why our runs cannot decide it whatever they give.
        undecided: the sentence why it stays open until something else is run.
        at_paper: what decides at tier paper, where it is testable after all.
    """
    fixed = (ClaimVerdict.NOT_TESTABLE, untestable) if untestable else (ClaimVerdict.INCONCLUSIVE, undecided)

    def judge(evidence: Evidence) -> Judgement:
        tier = routing_runs(evidence).tier
        if at_paper and tier == "paper":
            return _by(at_paper, (ClaimVerdict.INCONCLUSIVE, ""), tier)(evidence)
        return _by(assertions, fixed, tier)(evidence)

    return Claim(
        claim_id,
        statement,
        source=source,
        test=f"{TEST} Here: {'; '.join(item.words for item in assertions)}. {untestable or undecided}".strip(),
        refuted_by="One of these that does not hold in any of its readings.",
        judge=judge,
        published=published,
        needs=(NAME,),
        kind=kind,
    )


def _by(assertions: Sequence[Assertion], fixed: tuple[ClaimVerdict, str], tier: str) -> Callable[[Evidence], Judgement]:
    for item in assertions:
        if not item.wanted(tier):
            return lambda _: no_run_yet(f"{item.row} at tier {tier}")
    wanted = tuple(dict.fromkeys(pair for item in assertions for pair in item.wanted(tier)))
    return judge_cells(wanted, partial(_judge, assertions, fixed))


def _judge(assertions: Sequence[Assertion], fixed: tuple[ClaimVerdict, str], cells: Sequence[Cell]) -> Judgement:
    by_name = {(cell.row.name, cell.task): cell for cell in cells}
    findings = [
        Finding(item, tuple(item.check(by_name[p], item.key) for p in _known(item, by_name))) for item in assertions
    ]
    checks = [check for finding in findings for check in finding.checks]
    verdict = fixed[0] if fixed[1] else decide([finding.holds for finding in findings])
    effect, needed = open_effect(checks)
    return Judgement(
        verdict,
        fixed[1] or _reason(verdict, findings),
        "The paper's own generator, sizes and code; or a learning rate and length of training at which it differs.",
        ours=precision_text(checks[0]),
        minimum_detectable_effect=effect,
        seeds_needed=needed if verdict is ClaimVerdict.INCONCLUSIVE else None,
        details=f"{'. '.join(dict.fromkeys(check.text for check in checks))} ({scale(cells)}).",
        evidence=runs_of(cells),
        tables=(cells_table(cells),),
        figures=curves_of([cell for cell in cells if cell.task == FAR]),
    )


def _known(item: Assertion, by_name: Collection[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(row, task) for row in (item.row, *item.also) for task in item.tasks if (row, task) in by_name]


def _reason(verdict: ClaimVerdict, findings: Sequence[Finding]) -> str:
    if verdict is ClaimVerdict.INCONCLUSIVE:
        return next(finding.why_open for finding in findings if finding.holds is None)
    wanted = verdict is ClaimVerdict.SUPPORTED
    finding = next(finding for finding in findings if finding.holds is wanted)
    words = _WORDS[finding.assertion.check.__name__][0 if wanted else 1]
    worst = min(finding.checks, key=lambda check: check.mean.mean * (1 if words == "routes" else -1))
    found = interval_text(worst.mean).partition(",")[0] + ")"
    row, more = finding.assertion.named(finding.assertion.row), len(findings) - 1
    others = f", like {more} other{'s' * (more > 1)}" if wanted and more else ""
    return f"In every reading {row}{others} {words}: normalised precision {found} with {_at(worst)}."
