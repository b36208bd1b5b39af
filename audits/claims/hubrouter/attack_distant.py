"""Our attack on routing: where only distant tokens help, does it find more than the own chunk alone?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from audits.claims.claim import Claim, ClaimVerdict, Judgement, Kind, no_run_yet
from audits.claims.figures import CurvePoint as Point
from audits.claims.figures import Curves, DotColumn, DotPoint, Dots, Reference, Series
from audits.evidence.ledger import Evidence, Record
from audits.experiments.language_models.distant import (
    ARMS,
    CONTROL,
    FIRST_SEED,
    LOCAL,
    NAME,
    ROUTED,
    SIZES,
    TUNING_SEED,
)
from audits.formatting import Table, number
from audits.statistics.crossed import PairedComparison, crossed

GATE = 0.9  # accuracy of attention below which a task says nothing about the others
MARGIN = 0.05  # of accuracy: less is nothing
NAMES = {"mqar": "associative recall", "repeats": "planted repeats"}
STYLES = {CONTROL: "control", ROUTED: "causal", LOCAL: "masked"}


@dataclass(frozen=True, eq=False)
class Task:
    """The judged runs of one task, by arm and seed; accuracies are of distant questions, in [0, 1]."""

    name: str
    runs: dict[str, dict[int, Record]]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of the three arms that decide."""
        return tuple(sorted(set.intersection(*(set(self.runs.get(arm, ())) for arm in (CONTROL, ROUTED, LOCAL)))))

    @property
    def deciding(self) -> tuple[Record, ...]:
        """The runs of these arms and seeds."""
        return tuple(self.runs[arm][seed] for arm in (CONTROL, ROUTED, LOCAL) for seed in self.seeds)

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms of which a run did not diverge."""
        return tuple(arm for arm in ARMS if self.made(arm))

    def made(self, arm: str) -> dict[int, Record]:
        """The runs of an arm that did not diverge, by seed."""
        return {seed: run for seed, run in sorted(self.runs.get(arm, {}).items()) if not run.result["diverged"]}

    def accuracy(self, arm: str) -> float:
        """The mean over these runs."""
        return fmean(share(run.result["distant"]) for run in self.made(arm).values())

    @property
    def solved(self) -> bool:
        """Whether attention solves the task."""
        return self.accuracy(CONTROL) >= GATE

    @property
    def gain(self) -> PairedComparison:
        """HubRouter less its own chunk alone less the margin, of the same seeds on the same blocks of sequences."""
        pairs = [(self.runs[ROUTED][seed].result, self.runs[LOCAL][seed].result) for seed in self.seeds]
        return crossed(
            [
                [share(x) - share(y) - MARGIN for x, y in zip(routed["blocks"], local["blocks"], strict=True)]
                for routed, local in pairs
            ]
        )


def share(counted: Sequence[int]) -> float:
    """Of [questions, correct ones] the share that is correct."""
    return counted[-1] / counted[-2]


def tasks(evidence: Evidence) -> tuple[Task, ...]:
    """The judged runs of the evidence's tier, each arm at the rate that its tuning chose."""
    found: dict[str, dict[str, dict[int, Record]]] = {name: {} for name in NAMES}
    for record in evidence.of(NAME):
        if record.seed != TUNING_SEED:
            found[record.config["task"]].setdefault(record.config["arm"], {})[record.seed] = record
    return tuple(Task(name, runs) for name, runs in found.items())


def judge(evidence: Evidence) -> Judgement:
    """Both tasks must show nothing to support the attack; one that shows something refutes it."""
    both = tasks(evidence)
    if any(len(task.seeds) < 2 or len(task.seeds) < _planned(task) for task in both):
        return no_run_yet("the distant tasks")
    runs = tuple(dict.fromkeys(run.run for task in both for arm in task.runs.values() for run in arm.values()))
    deciding = [run for task in both for run in task.deciding]
    if open_because := _void(deciding):
        leaks = any(run.result["audit"] == "LEAK" for run in deciding)
        return Judgement(
            ClaimVerdict.INCONCLUSIVE,
            open_because,
            "Runs of strictly causal models that converge.",
            "not computable: the runs decide nothing",
            evidence=runs,
            gate=not leaks,
        )
    return _decided(both, runs)


def _planned(task: Task) -> int:
    """The seeds of the tier."""
    tiers = {record.config["tier"] for record in task.deciding}
    return max((SIZES[tier].seeds for tier in tiers), default=2)


def _void(deciding: Iterable[Record]) -> str | None:
    """Why the runs of an arm decide nothing."""
    results = [run.result for run in deciding]
    if any(result["diverged"] for result in results):
        return "A deciding run diverged."
    if any(result["audit"] not in (None, "PASS") for result in results):
        return "A deciding model did not pass the causality audit."
    return None


def decide(both: Sequence[Task]) -> tuple[ClaimVerdict, str]:
    """The rule fixed beforehand, and its sentence."""
    more = [task for task in both if task.solved and task.gain.interval.low > 0]
    if more:
        found = " and ".join(f"{_points(task.gain.difference + MARGIN)} points on {NAMES[task.name]}" for task in more)
        return ClaimVerdict.REFUTED, f"HubRouter answers more distant questions than its own chunk: {found}."
    if unsolved := [task for task in both if not task.solved]:
        names = " and ".join(f"{NAMES[task.name]} to {_points(task.accuracy(CONTROL))} %" for task in unsolved)
        return (
            ClaimVerdict.INCONCLUSIVE,
            f"Open: attention solves {names}.{_shown(both)}",
        )
    if all(task.gain.interval.high < 0 for task in both):
        return (
            ClaimVerdict.SUPPORTED,
            "On both tasks, which attention solves, HubRouter answers no more distant questions than its own chunk.",
        )
    names = " and ".join(NAMES[task.name] for task in both if task.gain.interval.high >= 0)
    return ClaimVerdict.INCONCLUSIVE, f"The interval of the gain over the own chunk contains 5 points on {names}."


def _shown(both: Sequence[Task]) -> str:
    """What the tasks that attention solves show."""
    return "".join(
        f" On {NAMES[task.name]} HubRouter gains {_points(task.gain.difference + MARGIN)} points."
        for task in both
        if task.solved
    )


def _ours(both: Sequence[Task]) -> str:
    """The accuracies on the tasks that attention solves."""
    return "; ".join(
        f"{NAMES[task.name]} {_points(task.accuracy(ROUTED))} % against {_points(task.accuracy(LOCAL))} %, "
        f"attention {_points(task.accuracy(CONTROL))} %, {len(task.seeds)} seeds"
        for task in both
        if task.solved
    )


def _decided(both: Sequence[Task], runs: tuple[str, ...]) -> Judgement:
    verdict, reason = decide(both)
    gains = {task: task.gain for task in both}
    hardest = max(gains.values(), key=lambda gain: gain.mde)
    needed = [gain.seeds_needed for gain in gains.values()]
    return Judgement(
        verdict,
        reason,
        "A gain whose interval lies on the other side of 5 points, on a task that attention solves.",
        f"a gain {_points(hardest.mde)} points from the margin of 5 ({hardest.n} paired seeds, 80 % power)",
        None if None in needed else max(n for n in needed if n is not None),
        runs,
        tuple(_table(task) for task in both),
        details=" ".join(_details(task, gain) for task, gain in gains.items()),
        figures=tuple(figure for task in both for figure in (_dots(task), _curves(task))),
        ours=_ours(both),
    )


def _details(task: Task, gain: PairedComparison) -> str:
    mean, low, high = (MARGIN + value for value in (gain.difference, gain.interval.low, gain.interval.high))
    others = ", ".join(f"{arm} {_points(task.accuracy(arm))}" for arm in task.arms)
    return (
        f"{NAMES[task.name].capitalize()}, {_length(task)} tokens: HubRouter less its own chunk alone "
        f"{_points(mean)} points (95 % interval over {gain.n} seeds and the sequences {_points(low)} to "
        f"{_points(high)}). Accuracy on distant questions in per cent: {others}."
    )


def _length(task: Task) -> int:
    return int(task.deciding[0].config["stages"][-1]["sizes"]["length"])


def _points(accuracy: float) -> str:
    return f"{100 * accuracy:.1f}"


def _table(task: Task) -> Table:
    rows = []
    for arm in task.arms:
        made = list(task.made(arm).values())
        rows.append(
            (
                arm,
                _rate(made[0]),
                _points(task.accuracy(arm)),
                _mean_share(made, "kept"),
                _mean_share(made, "own_chunk"),
                _selected(made),
                number(fmean(run.result["nats"] for run in made)),
                str(made[0].result["parameters"]),
                ", ".join(sorted({run.result["audit"] for run in made if run.result["audit"]})),
            )
        )
    header = ("arm", "rate", "distant, %", "all kept, %", "own chunk, %", "selected, %", "nats", "parameters", "audit")
    return Table(f"{NAMES[task.name].capitalize()}: accuracy by where the evidence lies", header, tuple(rows))


def _rate(run: Record) -> str:
    """The rate that tuning chose, marked where it is an edge of the grid."""
    rates, rate = SIZES[run.config["tier"]].rates, run.config["lr"]
    return f"{number(rate, 2)} (edge)" if rate in (min(rates), max(rates)) else number(rate, 2)


def _mean_share(made: Sequence[Record], part: str) -> str:
    counted = [run.result[part] for run in made]
    return "none" if not counted[0][0] else _points(fmean(map(share, counted)))


def _selected(made: Sequence[Record]) -> str:
    """By layer, how often the evidence of a distant question was selected."""
    layers = zip(*(run.result["selected"] for run in made), strict=True)
    return ", ".join(_points(fmean(shares)) for shares in layers) or "none"


def _dots(task: Task) -> Dots:
    columns = []
    for arm in task.arms:
        points = tuple(DotPoint(seed, share(run.result["distant"])) for seed, run in task.made(arm).items())
        columns.append(DotColumn(arm, STYLES.get(arm, "other"), points, failed=len(task.runs[arm]) - len(points)))
    title = f"{NAMES[task.name].capitalize()}: distant questions answered"
    return Dots(title, "accuracy", tuple(columns), references=(Reference("attention must reach this", GATE),))


def _curves(task: Task) -> Curves:
    series = tuple(
        Series(arm, STYLES.get(arm, "other"), _by_distance([run.result for run in task.made(arm).values()]))
        for arm in task.arms
    )
    title = f"{NAMES[task.name].capitalize()}: accuracy by the distance of the evidence"
    return Curves(title, "distance in tokens", "accuracy", series, note="Mean over seeds; the middle of each bin.")


def _by_distance(results: Sequence[dict[str, Any]]) -> tuple[Point, ...]:
    bins = zip(*(result["distances"] for result in results), strict=True)
    return tuple(Point((rows[0][0] + rows[0][1]) / 2, fmean(map(share, rows))) for rows in bins if rows[0][2])


CLAIM = Claim(
    id="attack-distant",
    statement="Where only distant tokens help, HubRouter finds no more than its own chunk does.",
    source="our attack on the routing of arXiv:2604.22442",
    kind=Kind.ATTACK,
    test=(
        "Two layers, two tasks of 512 tokens: Zoology's associative recall, and copies of spans at least 256 tokens "
        f"back. Seeds {FIRST_SEED} to {FIRST_SEED + SIZES['full'].seeds - 1}, each arm at the best of three rates. Of "
        "questions whose evidence lies outside the own chunk, where earlier tokens are more than the slots: accuracy "
        "of HubRouter less that of its own chunk alone (no selection, no read-out). The attack succeeds where the 95 % "
        "interval lies below 5 points on both tasks, and fails where it lies above on one. A task on which attention "
        "stays below 90 % decides nothing."
    ),
    refuted_by="An interval above 5 points on a task that attention solves.",
    judge=judge,
    needs=(NAME,),
)
