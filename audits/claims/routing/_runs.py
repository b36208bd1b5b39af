"""What the claims of arXiv:2603.20997 share: a mechanism's runs on a task, whether it routes, and the rule for it.

Precision is normalised in two ways: 1 is always, and 0 is exact chance, or what content alone can reach. Thresholds
are ours, refer to chance and were fixed before the runs: a mechanism routes from 0.8 on, and is at chance up to 0.1.
That it does not route is said only where longer training brings nothing more. The paper says neither what its
distractors carry, nor how many there are, nor which token the router is trained to find: each is a reading, and only
what holds in all of them is said.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import comb

from audits.claims.claim import ClaimVerdict, Judgement, no_run_yet
from audits.evidence.experiment import RunSpec
from audits.evidence.ledger import Evidence, Record
from audits.experiments.routing._bandit import HELD_OUT
from audits.experiments.routing._plan import (
    LONGER,
    MIDDLE,
    NAME,
    RATES,
    Arm,
    judged_specs,
    rate_of,
    tuned,
    tuning_specs,
)
from audits.experiments.routing._rows import ROWS, Row
from audits.experiments.routing._task import FAR, TASKS, content_ceiling
from audits.formatting import Table
from audits.statistics.mean import Mean, mean_of_runs
from hubrouter.diagnostic.scores import normalised

SOURCE = "arXiv:2603.20997 v2 (A. Basu, 2026), no code published"
ROUTES, CHANCE = 0.8, 0.1
PLATEAU = 0.1  # what several times the training may bring a mechanism that is said not to route
LEVEL = 0.95


@dataclass(frozen=True)
class Cell:
    """One mechanism on one task: its seeds at the rate chosen for it, the runs that chose, and longer training."""

    row: Row
    task: str
    seeds: tuple[Record, ...]
    swept: tuple[Record, ...]
    long: tuple[Record, ...] = ()
    times: int = 1  # as long as usual

    @property
    def name(self) -> str:
        """Mechanism, task and length of training."""
        return f"{self.row.name} ({self.task}{f', {self.times} times as long' if self.times > 1 else ''})"

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
    def ceiling(self) -> float | None:
        """The precision that content alone can reach; None where it can reach everything, or picks are no tokens."""
        whole = self.row.router in ("segment_mean", "segment_max", "memory_banks") or self.row.budget
        found = content_ceiling(TASKS[str(self.seeds[0].config["tier"])][self.task])
        return None if whole or found == 1 else found

    @property
    def beyond_content(self) -> Mean | None:
        """Precision where 0 is what content alone can reach and 1 is always."""
        return None if self.ceiling is None else self.beyond(self.seeds)

    def beyond(self, records: Sequence[Record], key: str = "precision") -> Mean:
        """The same of some of its runs, which must have a ceiling."""
        return self._mean(records, key, self.ceiling)

    @property
    def long_mean(self) -> Mean | None:
        """Normalised precision in longer training; None where there was none."""
        return self._mean(self.long, "precision") if self.long else None

    def _mean(self, records: Sequence[Record], key: str, zero: float | None = None) -> Mean:
        values = [float(record.result[key]) for record in records]
        found = sum(values) / len(values)
        zeros = [float(record.result["chance"]) if zero is None else zero for record in records]
        asked = int(records[0].config["held_out"])
        asked = min(asked, HELD_OUT) if self.row.recipe == "bandit" else asked
        error = math.sqrt(max(found * (1 - found), 0.0) / asked) / (1 - zeros[0])
        return mean_of_runs([normalised(*pair) for pair in zip(values, zeros, strict=True)], error, LEVEL)

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
    """The runs of the diagnostic at one tier."""

    tier: str
    evidence: Evidence

    def cell(self, name: str, task: str = FAR, times: int = 1) -> Cell | None:
        """The planned runs of a mechanism on a task; None where a seed or a rate of them is missing."""
        row, tier = ROWS[name], self.tier
        lr = rate_of(tier, name, self.evidence) if tuned(tier, name) else MIDDLE
        if lr is None:
            return None
        found = self._records(judged_specs(tier, Arm(task, name, times), lr))
        swept = self._records(tuning_specs(tier, name))
        longer = (task, times) == (FAR, 1) and name in LONGER and tier != "quick"
        more = self._records(judged_specs(tier, Arm(task, name, LONGER[name]), lr)) if longer else ()
        return None if found is None or swept is None or more is None else Cell(row, task, found, swept, more, times)

    def _records(self, specs: Iterable[RunSpec]) -> tuple[Record, ...] | None:
        found = [self.evidence.answer(spec.experiment, spec.config, spec.seed) for spec in specs]
        known = tuple(record for record in found if record is not None)
        return known if len(known) == len(found) else None


def routing_runs(evidence: Evidence) -> Runs:
    """The runs of the evidence, which is that of one tier."""
    records = evidence.of(NAME)
    return Runs(str(records[0].config["tier"]) if records else "quick", evidence)


def judge_cells(
    wanted: Sequence[tuple[str, str] | tuple[str, str, int]], rule: Callable[[Sequence[Cell]], Judgement]
) -> Callable[[Evidence], Judgement]:
    """A judge by these mechanisms, tasks and lengths of training; not verified where one of them has not been run."""

    def judge(evidence: Evidence) -> Judgement:
        runs = routing_runs(evidence)
        cells = [runs.cell(*pair) for pair in wanted]
        known = [cell for cell in cells if cell is not None]
        if len(known) < len(cells):
            missing = next(pair for pair, cell in zip(wanted, cells, strict=True) if cell is None)
            return no_run_yet(f"{missing[0]} ({missing[1]})")
        return rule(known)

    return judge


@dataclass(frozen=True)
class Check:
    """One thing that a claim says of one mechanism, and whether it holds; None where the runs leave it open.

    `needed` is the number of seeds that would settle it, as far as seeds can.
    """

    cell: Cell
    holds: bool | None
    text: str
    mean: Mean
    needed: int | None


def routes(cell: Cell, key: str = "precision") -> Check:
    """Whether it routes; that it does not is said only where no learning rate does, and no longer training."""
    mean, longer = cell.mean(key), cell.long_mean if key == "precision" else None
    if mean.interval.low >= ROUTES or (longer is not None and longer.interval.low >= ROUTES):
        return Check(cell, True, _described(cell, key), mean, mean.n)
    if mean.interval.high >= ROUTES:
        return Check(cell, None, _described(cell, key), mean, mean.runs_to_resolve(abs(mean.mean - ROUTES)))
    holds = False if best(cell, key) < ROUTES and plateau(cell) else None
    return Check(cell, holds, _described(cell, key), mean, mean.n)


def at_chance(cell: Cell, key: str = "precision") -> Check:
    """Whether it stays at chance, at every learning rate and in longer training where there was one."""
    mean = cell.mean(key)
    low, high = mean.interval.low, mean.interval.high
    holds = False if low > CHANCE else True if max(high, best(cell, key)) <= CHANCE else None
    return Check(cell, holds, _described(cell, key), mean, mean.runs_to_resolve(abs(mean.mean - CHANCE)))


def stays_above(cell: Cell, key: str = "precision") -> Check:
    """Whether it is above chance."""
    check = at_chance(cell, key)
    return replace(check, holds=negated(check.holds))


def no_better(cell: Cell, key: str = "precision") -> Check:
    """Whether it finds no more than content alone can, in longer training neither."""
    assert cell.ceiling is not None
    means = [cell.beyond(records, key) for records in (cell.seeds, cell.long) if records]
    mean = max(means, key=lambda found: found.mean)
    return Check(cell, below(mean, CHANCE), _described(cell, key), mean, mean.runs_to_resolve(abs(mean.mean - CHANCE)))


def short_of(cell: Cell, key: str = "precision") -> Check:
    """Whether it does not route, be it at chance or between."""
    check = routes(cell, key)
    return replace(check, holds=negated(check.holds))


def best(cell: Cell, key: str = "precision") -> float:
    """The best normalised precision of a single run of another length or learning rate."""
    tried = (*cell.swept, *cell.long) if key == "precision" and cell.task == FAR else cell.long
    return max((normalised_of(record, key) for record in tried), default=-math.inf)


def plateau(cell: Cell) -> bool:
    """Whether longer training brought nothing to speak of, as with a Bloom filter; False where it was not tried."""
    longer = cell.long_mean
    return cell.row.router == "bloom" or (longer is not None and longer.mean - cell.mean().mean <= PLATEAU)


def _described(cell: Cell, key: str) -> str:
    beyond, longer = (cell.beyond_content, cell.long_mean) if key == "precision" else (None, None)
    return (
        f"{cell.name}: precision {100 * cell.average(key):.1f} % at a chance of {100 * cell.average('chance'):.1f} %, "
        f"normalised by chance {interval_text(cell.mean(key))}"
        + (f", by content alone {interval_text(beyond)}" if beyond else "")
        + (f"; {LONGER[cell.row.name]} times as long {interval_text(longer)}" if longer else "")
    )


def precision_text(check: Check) -> str:
    """Precision with its interval and seeds, not normalised, as the paper prints it."""
    chance = check.cell.average("chance")
    middle, low, high = (
        f"{100 * min(1.0, max(0.0, chance + (1 - chance) * value)):.1f}"
        for value in (check.mean.mean, check.mean.interval.low, check.mean.interval.high)
    )
    return f"{middle} % ({low} to {high}), {check.mean.n} seeds"


def interval_text(mean: Mean) -> str:
    """A mean with its interval and its number of runs."""
    return f"{mean.mean:.2f} ({mean.interval.low:.2f} to {mean.interval.high:.2f}, {mean.n} seeds)"


def agreed(checks: Sequence[Check]) -> bool | None:
    """What all readings say; None where one is open, or where they differ."""
    said = {check.holds for check in checks}
    return said.pop() if len(said) == 1 else None


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
        "mechanism", "task", "seeds", "precision, %", "chance, %", "content alone, %", "normalised by chance",
        "normalised by content alone", "accuracy, %", "mean rank", "tuning: rate and normalised", "trained longer",
    )  # fmt: skip
    more = () if causality is None else ("audit of the representation",)
    rows = tuple(_row(cell) + (() if causality is None else (causality.get(cell.row.name, "none"),)) for cell in cells)
    return Table("Routing precision and task accuracy (95 % intervals)", header + more, rows)


def _row(cell: Cell) -> tuple[str, ...]:
    ranks = [record.result["rank"] for record in cell.seeds]
    rank = "not finite" if None in ranks else f"{sum(ranks) / len(ranks):.1f}"
    beyond, longer = cell.beyond_content, cell.long_mean
    return (
        cell.row.name,
        cell.task + (f", {cell.times} times as long" if cell.times > 1 else ""),
        f"{len(cell.seeds)}" + _diverged(cell.seeds),
        f"{100 * cell.average('precision'):.1f}",
        f"{100 * cell.average('chance'):.1f}",
        "does not apply" if cell.ceiling is None else f"{100 * cell.ceiling:.1f}",
        interval_text(cell.mean()),
        "does not apply" if beyond is None else interval_text(beyond),
        f"{100 * cell.average('accuracy'):.1f}",
        rank,
        _tuning(cell),
        "not run" if longer is None else f"{LONGER[cell.row.name]} times: {interval_text(longer)}",
    )


def _tuning(cell: Cell) -> str:
    """Each rate with its normalised precision, the chosen one marked, and whether it lies at an edge of the grid."""
    if not cell.swept:
        return "not tuned"
    chosen = cell.seeds[0].config["lr"]
    rates = (f"{r.config['lr']:g}{'*' * (r.config['lr'] == chosen)}: {normalised_of(r):.2f}" for r in cell.swept)
    return ", ".join(rates) + (" (at an edge)" if chosen in (RATES[0], RATES[-1]) else "")


def _diverged(records: Sequence[Record]) -> str:
    lost = sum(bool(record.result["diverged"]) for record in records)
    return f" ({lost} diverged)" if lost else ""
