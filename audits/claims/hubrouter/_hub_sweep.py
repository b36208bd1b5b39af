"""What the claims read from the hub-count sweep: outcomes by arm, number of hubs and seed; their table and figures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any

from audits.claims.figures import CurvePoint, Curves, DotColumn, Dots, Series
from audits.evidence.ledger import Evidence, Record
from audits.experiments.routing.hub_count import ARMS, CELLS, NAME, THRESHOLD
from audits.formatting import Table
from audits.statistics.counts import Counts, rate_interval

PLAIN, ORTHOGONAL = ARMS
STYLES = {PLAIN: "causal", ORTHOGONAL: "other"}
LABELS = {PLAIN: "without regularisation", ORTHOGONAL: "orthogonal regularisation"}


@dataclass(frozen=True)
class Routed:
    """One run: held-out recall@k at the end (None if it diverged), and the first step seen at the threshold."""

    arm: str
    hubs: int
    seed: int
    run: str
    recall: float | None
    converged: bool
    diverged: bool
    steps: int | None


@dataclass(frozen=True)
class Sweep:
    """The runs of one tier and one setting: everything but the number of hubs and the arm is equal."""

    tier: str
    setting: dict[str, Any]
    routed: tuple[Routed, ...]

    def cell(self, arm: str, hubs: int) -> tuple[Routed, ...]:
        """The runs of a cell, by seed."""
        found = (run for run in self.routed if (run.arm, run.hubs) == (arm, hubs))
        return tuple(sorted(found, key=lambda run: run.seed))

    def hubs(self, arm: str) -> tuple[int, ...]:
        """The numbers of hubs that an arm has runs of, ascending."""
        return tuple(sorted({run.hubs for run in self.routed if run.arm == arm}))

    def counts(self, arm: str, *hubs: int) -> Counts:
        """How many runs of these cells together converged; a diverged run did not."""
        runs = [run for number in hubs for run in self.cell(arm, number)]
        return Counts(sum(run.converged for run in runs), len(runs))

    def complete(self, arm: str, least: int = 1, most: int | None = None) -> bool:
        """Whether all runs with `least` to `most` hubs that the tier's design names are there: no early look."""
        design = CELLS[self.tier].seeds(arm) if self.tier in CELLS else {}
        wanted = {m: seeds for m, seeds in design.items() if least <= m and (most is None or m <= most)}
        found = {m: {run.seed for run in self.cell(arm, m)} for m in wanted}
        return bool(wanted) and all(found[m] >= set(seeds) for m, seeds in wanted.items())

    def runs(self, arms: Iterable[str] = ARMS) -> tuple[str, ...]:
        """The addresses of the runs of these arms."""
        return tuple(sorted(run.run for run in self.routed if run.arm in arms))


def sweep(evidence: Evidence) -> Sweep:
    """The sweep in the setting of its last run; empty if there is none."""
    records = evidence.latest_varying(NAME, ("hubs", "arm"))
    setting = records[-1].setting(("hubs", "arm")) if records else {}
    return Sweep(str(setting.get("tier", "")), setting, tuple(_routed(record) for record in records))


def scale(found: Sweep) -> str:
    """The warning that accompanies every verdict from these runs."""
    c = found.setting
    return (
        f"SMALL SCALE, OUR OWN TASK: supervised routing (N = {c['length']}, D = {c['d_model']}, {c['named']} of "
        f"{c['named'] * c['chunk'] // c['relevant']} types named, {c['relevant']} of {c['chunk']} tokens to find, "
        f"{c['steps']} steps; converged means recall of {THRESHOLD} or more). The paper's setting is unknown: this "
        "tests the ordering over M, not its counts."
    )


def table(found: Sweep) -> Table:
    """Every cell: converged runs with the 95 % interval of the rate, recall, steps and divergences."""
    rows = tuple(_row(found, arm, hubs) for arm in ARMS for hubs in found.hubs(arm))
    header = ("arm", "M", "converged", "95 % interval", "recall: lowest, median, highest", "median steps", "diverged")
    return Table(f"Convergence by number of hubs (steps to recall {THRESHOLD}, of those that reached it)", header, rows)


def _row(found: Sweep, arm: str, hubs: int) -> tuple[str, ...]:
    cell, counts = found.cell(arm, hubs), found.counts(arm, hubs)
    bounds = rate_interval(counts)
    recalls = [run.recall for run in cell if run.recall is not None]
    steps = [run.steps for run in cell if run.steps is not None]
    spread = f"{min(recalls):.3f}, {median(recalls):.3f}, {max(recalls):.3f}" if recalls else "all diverged"
    when = f"{median(steps):.0f}" if steps else "never"
    diverged = str(sum(run.diverged for run in cell))
    return (LABELS[arm], str(hubs), str(counts), f"{bounds.low:.2f} to {bounds.high:.2f}", spread, when, diverged)


def rates_figure(found: Sweep) -> Curves:
    """The share of converged seeds over M in both arms."""
    series = tuple(Series(LABELS[arm], STYLES[arm], _rates(found, arm)) for arm in ARMS if found.hubs(arm))
    return Curves(
        "Convergence over the number of hubs",
        "hubs M",
        "share of seeds that converged",
        series,
        "Bars: 95 % Clopper-Pearson intervals. With one hub no router can distinguish tokens, by construction.",
        log_x=True,
    )


def _rates(found: Sweep, arm: str) -> tuple[CurvePoint, ...]:
    cells = [(hubs, found.counts(arm, hubs)) for hubs in found.hubs(arm)]
    bounds = [rate_interval(counts) for _, counts in cells]
    return tuple(
        CurvePoint(hubs, counts.successes / counts.trials, bound.low, bound.high, str(counts))
        for (hubs, counts), bound in zip(cells, bounds, strict=True)
    )


def recall_figure(found: Sweep, cells: Iterable[tuple[str, int]], *, joined: bool) -> Dots:
    """The held-out recall of every seed, one column a cell."""
    columns = tuple(_column(found, arm, hubs, both=joined) for arm, hubs in cells)
    note = f"Converged means {THRESHOLD} or more; a random choice has "
    chance = found.setting["relevant"] / found.setting["chunk"]
    return Dots("Held-out recall of every seed", "recall@k", columns, f"{note}{chance:g}.", joined=joined)


def _column(found: Sweep, arm: str, hubs: int, *, both: bool) -> DotColumn:
    cell = found.cell(arm, hubs)
    points = tuple((run.seed, run.recall) for run in cell if run.recall is not None)
    label = f"M = {hubs}, {LABELS[arm]}" if both else f"M = {hubs}"
    return DotColumn(label, STYLES[arm], points, failed=len(cell) - len(points))


def _routed(record: Record) -> Routed:
    r, c = record.result, record.config
    return Routed(
        str(c["arm"]),
        int(c["hubs"]),
        record.seed,
        record.run,
        r["recall"],
        bool(r["converged"]),
        bool(r["diverged"]),
        r["steps_to_threshold"],
    )
