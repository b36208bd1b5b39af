"""What the claims of arXiv:2603.20997 share: a mechanism's runs on a task, whether it routes, and the rule for it.

Precision is normalised: 0 at the exact level of chance, 1 where the answer is always read. Thresholds are ours and were
fixed before the runs: a mechanism routes from 0.8 on, and is at chance up to 0.1. That it does not route is said only
where longer training brings nothing more; this was added after the first runs, some of which it leaves open. The paper
does not say what its distractors carry, so what it calls a failure is looked for in both versions of the task, and one
of them is enough.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import comb

from audits.claims.claim import ClaimVerdict, Judgement, no_run_yet
from audits.evidence.experiment import RunSpec
from audits.evidence.ledger import Evidence, Record, run_hash
from audits.experiments.routing._bandit import HELD_OUT
from audits.experiments.routing._plan import MIDDLE, NAME, rates, seeds, spec_of
from audits.experiments.routing._rows import ROWS, Row
from audits.experiments.routing._task import FAR
from audits.experiments.routing.long import LONG, TIMES
from audits.experiments.routing.long import NAME as LONGER
from audits.experiments.routing.long_seeds import EXPERIMENT as MORE_LONG
from audits.experiments.routing.long_seeds import long_specs
from audits.formatting import Table
from audits.statistics.mean import Mean, mean_of_runs
from hubrouter.diagnostic.scores import normalised

SOURCE = "arXiv:2603.20997 v2 (A. Basu, 2026), no code published"
ROUTES, CHANCE = 0.8, 0.1
PLATEAU = 0.1  # what several times the training may bring a mechanism that is said not to route
NEEDS = (NAME, LONGER, MORE_LONG.name)
SEEDS = 3
LEVEL = 0.95


@dataclass(frozen=True)
class Cell:
    """One mechanism on one task: its seeds at the middle learning rate, and what else was tried.

    `swept` has every learning rate, `long` several times the training for those that may be said not to route: of the
    first seed, or of several where that one routes.
    """

    row: Row
    task: str
    seeds: tuple[Record, ...]
    swept: tuple[Record, ...]
    long: tuple[Record, ...] = ()

    @property
    def name(self) -> str:
        """Mechanism and task."""
        return f"{self.row.name} ({self.task})"

    @property
    def runs(self) -> tuple[str, ...]:
        """The addresses of its runs."""
        return tuple(dict.fromkeys(record.run for record in (*self.seeds, *self.swept, *self.long)))

    def values(self, key: str = "precision") -> list[float]:
        """Normalised precision of each seed."""
        return [normalised_of(record, key) for record in self.seeds]

    def mean(self, key: str = "precision") -> Mean:
        """Normalised precision over the seeds, at the accuracy that the held-out questions allow."""
        return self._mean(self.seeds, key)

    @property
    def long_mean(self) -> Mean | None:
        """The same in longer training; None for fewer than the pre-registered seeds."""
        return self._mean(self.long, "precision") if len(self.long) >= SEEDS else None

    def _mean(self, records: Sequence[Record], key: str) -> Mean:
        found = sum(float(record.result[key]) for record in records) / len(records)
        chance, asked = float(records[0].result["chance"]), int(records[0].config["held_out"])
        asked = min(asked, HELD_OUT) if self.row.recipe == "bandit" else asked
        error = math.sqrt(found * (1 - found) / asked) / (1 - chance)
        return mean_of_runs([normalised_of(record, key) for record in records], error, LEVEL)

    def average(self, key: str) -> float:
        """The mean of a result over the seeds."""
        return sum(float(record.result[key]) for record in self.seeds) / len(self.seeds)


def normalised_of(record: Record, key: str = "precision") -> float:
    """Normalised precision of one run."""
    return normalised(float(record.result[key]), float(record.result["chance"]))


def chance_of(units: int, picked: int, holding: int = 1) -> float:
    """The chance that units picked at random include one of those that hold the answer."""
    return 1 - comb(units - holding, picked) / comb(units, picked)


def below(found: Mean, bound: float) -> bool | None:
    """Whether the whole interval lies up to the bound, or beyond it; None where the bound lies in it."""
    return True if found.interval.high <= bound else False if found.interval.low > bound else None


def negated(holds: bool | None) -> bool | None:
    """The opposite; what is open stays open."""
    return None if holds is None else not holds


@dataclass(frozen=True)
class Runs:
    """The runs of the diagnostic at one tier, by the question they answer."""

    tier: str
    by_question: Mapping[str, Record]

    def cell(self, name: str, task: str = FAR) -> Cell | None:
        """The planned runs of a mechanism on a task; None where a seed or a rate of them is missing."""
        row, tier = ROWS[name], self.tier
        seeded = [spec_of(tier, task, row, seed, MIDDLE) for seed in range(max(SEEDS, seeds(tier, name)))]
        swept = [spec_of(tier, task, row, 0, rate) for rate in rates(tier, row, 0)]
        found, every = self._records(seeded), self._records(swept)
        more = self._records(long_specs(tier, name)) if task == FAR and name in LONG and tier != "quick" else ()
        return None if found is None or every is None or more is None else Cell(row, task, found, every, more)

    def _records(self, specs: Iterable[RunSpec]) -> tuple[Record, ...] | None:
        found = [self.by_question.get(run_hash(spec.experiment, spec.config, spec.seed)) for spec in specs]
        known = tuple(record for record in found if record is not None)
        return known if len(known) == len(found) else None


def routing_runs(evidence: Evidence) -> Runs:
    """The runs of the evidence, which is that of one tier."""
    records = (*evidence.of(NAME), *evidence.of(LONGER))
    return Runs(str(records[0].config["tier"]) if records else "quick", {record.question: record for record in records})


def judge_cells(
    wanted: Sequence[tuple[str, str]], rule: Callable[[Sequence[Cell]], Judgement]
) -> Callable[[Evidence], Judgement]:
    """A judge by these mechanisms on these tasks; not verified where one of them has not been run."""

    def judge(evidence: Evidence) -> Judgement:
        runs = routing_runs(evidence)
        cells = [runs.cell(name, task) for name, task in wanted]
        known = [cell for cell in cells if cell is not None]
        if len(known) < len(cells):
            missing = next(f"{name} ({task})" for (name, task), cell in zip(wanted, cells, strict=True) if cell is None)
            return no_run_yet(f"{missing} with all its seeds and learning rates")
        return rule(known)

    return judge


@dataclass(frozen=True)
class Check:
    """One thing that a claim says of one mechanism, and whether it holds; None where the runs leave it open.

    `needed` is the number of seeds that would settle it, as far as seeds can.
    """

    holds: bool | None
    text: str
    mean: Mean
    needed: int | None


def routes(cell: Cell, key: str = "precision") -> Check:
    """Whether it routes; that it does not is said only where no learning rate does, and no longer training."""
    mean, longer = cell.mean(key), cell.long_mean if key == "precision" else None
    if mean.interval.low >= ROUTES or (longer is not None and longer.interval.low >= ROUTES):
        return Check(True, _described(cell, key), mean, mean.n)
    if mean.interval.high >= ROUTES:
        return Check(None, _described(cell, key), mean, mean.runs_to_resolve(abs(mean.mean - ROUTES)))
    holds = False if best(cell, key) < ROUTES and plateau(cell) else None
    return Check(holds, _described(cell, key), mean, max(SEEDS, len(cell.long) + 1))


def at_chance(cell: Cell, key: str = "precision") -> Check:
    """Whether it stays at chance, at every learning rate and in longer training where there was one."""
    mean = cell.mean(key)
    low, high = mean.interval.low, mean.interval.high
    holds = False if low > CHANCE else True if max(high, best(cell, key)) <= CHANCE else None
    return Check(holds, _described(cell, key), mean, mean.runs_to_resolve(abs(mean.mean - CHANCE)))


def short_of(cell: Cell, key: str = "precision") -> Check:
    """Whether it does not route, be it at chance or between."""
    check = routes(cell, key)
    return Check(negated(check.holds), check.text, check.mean, check.needed)


def best(cell: Cell, key: str = "precision") -> float:
    """The best normalised precision of the first seed, by learning rate and in longer training."""
    tried = (*cell.swept, *cell.long) if key == "precision" else cell.swept
    return max((normalised_of(record, key) for record in tried), default=-math.inf)


def plateau(cell: Cell) -> bool:
    """Whether longer training brought the first seed nothing to speak of; False where it was not tried."""
    return bool(cell.long) and normalised_of(cell.long[0]) - normalised_of(cell.seeds[0]) <= PLATEAU


def _described(cell: Cell, key: str) -> str:
    mean = cell.mean(key)
    between = f"{mean.interval.low:.2f} to {mean.interval.high:.2f}"
    longer = ", ".join(f"{normalised_of(record):.2f}" for record in cell.long) if key == "precision" else ""
    return (
        f"{cell.name}: precision {100 * cell.average(key):.1f} % at a chance of {100 * cell.average('chance'):.1f} %, "
        f"normalised {mean.mean:.2f} (95 % interval {between}, {mean.n} seeds"
        + (f"; {TIMES} times as long {longer})" if longer else ")")
    )


def either(checks: Sequence[Check]) -> bool | None:
    """Whether one of several readings holds."""
    return True if any(c.holds for c in checks) else False if all(c.holds is False for c in checks) else None


def decide(held: Sequence[bool | None]) -> ClaimVerdict:
    """One thing that does not hold refutes; all that hold support."""
    if any(holds is False for holds in held):
        return ClaimVerdict.REFUTED
    return ClaimVerdict.SUPPORTED if all(held) else ClaimVerdict.INCONCLUSIVE


def runs_of(cells: Iterable[Cell]) -> tuple[str, ...]:
    """The addresses of all their runs."""
    return tuple(dict.fromkeys(run for cell in cells for run in cell.runs))


def scale(cells: Sequence[Cell]) -> str:
    """The scale of the runs in a few words."""
    c = cells[0].seeds[0].config
    return (
        f"{c['tier']} tier: {c['length']} tokens, width {c['d_model']}, {c['steps']} steps of {c['batch']} questions; "
        "the paper has 512, 128 and 10 000 of 32"
    )


def open_effect(checks: Sequence[Check]) -> tuple[str, int | None]:
    """What the runs could not resolve, and the seeds that would, for the checks that are open."""
    undecided = [check for check in checks if check.holds is None] or list(checks)
    worst = max((check.mean for check in undecided), key=lambda mean: mean.half_width)
    needed = max((check.needed for check in undecided if check.needed is not None), default=None)
    return f"{worst.half_width:.2f} of normalised precision ({worst.n} seeds, 95 %)", needed


def cells_table(cells: Sequence[Cell], causality: Mapping[str, str] | None = None) -> Table:
    """Everything measured of the mechanisms, both precisions and accuracy side by side."""
    header = (
        "mechanism", "task", "seeds", "precision, %", "chance, %", "normalised (95 % interval)", "accuracy, %",
        "mean rank", "first seed by learning rate", f"{TIMES} times as long",
    )  # fmt: skip
    more = () if causality is None else ("audit of the representation",)
    rows = tuple(_row(cell) + (() if causality is None else (causality.get(cell.row.name, "none"),)) for cell in cells)
    return Table("Routing precision and task accuracy", header + more, rows)


def _row(cell: Cell) -> tuple[str, ...]:
    mean = cell.mean()
    ranks = [record.result["rank"] for record in cell.seeds]
    rank = "not finite" if None in ranks else f"{sum(ranks) / len(ranks):.1f}"
    return (
        cell.row.name,
        cell.task,
        f"{mean.n}" + _diverged(cell.seeds),
        f"{100 * cell.average('precision'):.1f}",
        f"{100 * cell.average('chance'):.1f}",
        f"{mean.mean:.2f} ({mean.interval.low:.2f} to {mean.interval.high:.2f})",
        f"{100 * cell.average('accuracy'):.1f}",
        rank,
        ", ".join(f"{r.config['lr']:g}: {normalised_of(r):.2f}" for r in cell.swept),
        ", ".join(f"{normalised_of(r):.2f}" for r in cell.long) or "not run",
    )


def _diverged(records: Sequence[Record]) -> str:
    lost = sum(bool(record.result["diverged"]) for record in records)
    return f" ({lost} diverged)" if lost else ""
