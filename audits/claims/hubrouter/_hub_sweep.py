"""What the claims read from the hub-count sweep: curves by arm, hubs, learning rate and seed; tables and figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import mean
from typing import Any

from audits.claims.figures import CurvePoint, Curves, Series
from audits.evidence.ledger import Evidence, Record
from audits.experiments.routing.hub_count import ARMS, CELLS, NAME, RATES, THRESHOLD
from audits.formatting import Table
from audits.statistics.counts import Counts, rate_interval

PLAIN, ORTHOGONAL = ARMS
VARIED = ("hubs", "arm", "lr")
STYLES = ("leaky", "causal", "masked", "other", "control")
LABELS = {PLAIN: "without the penalty", ORTHOGONAL: "with the penalty"}


@dataclass(frozen=True)
class Routed:
    """One run: held-out recall@k by step, up to where it diverged."""

    arm: str
    hubs: int
    lr: float
    seed: int
    run: str
    recall: dict[int, float]

    def converged(self, steps: int) -> bool:
        """Whether a run of so many steps ends with the recall that counts."""
        return self.recall.get(steps, 0.0) >= THRESHOLD


@dataclass(frozen=True)
class Sweep:
    """The runs of one tier and one setting: everything but the number of hubs, the arm and the rate is equal."""

    tier: str
    setting: dict[str, Any]
    routed: tuple[Routed, ...]

    @cached_property
    def budgets(self) -> tuple[int, ...]:
        """The numbers of steps at which every run was evaluated: shorter runs, read off the curve of the longest."""
        every, steps = self.setting["every"], self.setting["steps"]
        return tuple(range(every, steps + 1, every))

    @cached_property
    def rates(self) -> tuple[float, ...]:
        """The learning rates, ascending."""
        return tuple(sorted({run.lr for run in self.routed}))

    def cell(self, arm: str, hubs: int, lr: float) -> tuple[Routed, ...]:
        """The runs of a cell, by seed."""
        found = (run for run in self.routed if (run.arm, run.hubs, run.lr) == (arm, hubs, lr))
        return tuple(sorted(found, key=lambda run: run.seed))

    def hubs(self, arm: str) -> tuple[int, ...]:
        """The numbers of hubs that an arm has runs of, ascending."""
        return tuple(sorted({run.hubs for run in self.routed if run.arm == arm}))

    def counts(self, arm: str, hubs: Sequence[int], lr: float, steps: int) -> Counts:
        """How many runs of these cells together have converged at an operating point; a diverged run has not."""
        runs = [run for number in hubs for run in self.cell(arm, number, lr)]
        return Counts(sum(run.converged(steps) for run in runs), len(runs))

    def shares(self, arm: str, hubs: int, lr: float | None = None) -> dict[int, float]:
        """By seed, the share of step budgets at which it has converged; the mean over all rates where none is named."""
        cells = [self.cell(arm, hubs, rate) for rate in (self.rates if lr is None else (lr,))]
        return {
            runs[0].seed: mean(run.converged(steps) for run in runs for steps in self.budgets)
            for runs in zip(*cells, strict=True)
        }

    def complete(self, arm: str, *hubs: int) -> bool:
        """Whether all runs of these cells (of all where none is named) that the design names are there."""
        design = CELLS[self.tier].seeds(arm) if self.tier in CELLS else {}
        wanted = {(m, lr, s) for m in hubs or design for s in design.get(m, ()) for lr in RATES[self.tier]}
        return bool(wanted) and wanted <= {(run.hubs, run.lr, run.seed) for run in self.routed if run.arm == arm}

    def runs(self, arm: str, *hubs: int) -> tuple[str, ...]:
        """The addresses of the runs of these cells, of all where none is named."""
        return tuple(sorted(run.run for run in self.routed if run.arm == arm and (not hubs or run.hubs in hubs)))


def sweep(evidence: Evidence) -> Sweep:
    """The sweep in the setting of its last run; empty if there is none."""
    records = evidence.latest(NAME, *VARIED)
    setting = records[-1].setting(VARIED) if records else {}
    return Sweep(str(setting.get("tier", "")), setting, tuple(_routed(record) for record in records))


def scale(found: Sweep) -> str:
    """The conditions that accompany every verdict from these runs."""
    c = found.setting
    return (
        f"Supervised routing (N = {c['length']}, D = {c['d_model']}, {c['named']} of "
        f"{c['named'] * c['chunk'] // c['relevant']} types named, {c['relevant']} of {c['chunk']} tokens to find) at "
        f"learning rates {', '.join(f'{rate:g}' for rate in found.rates)} and {len(found.budgets)} budgets up to "
        f"{c['steps']} steps, read off one curve, as the rate is constant after {c['warmup']} steps. Converged: recall "
        f"of {THRESHOLD} or more at the end of the budget. The paper's task, rate and budget are unknown."
    )


def surface_tables(found: Sweep, arm: str, hubs: Sequence[int]) -> tuple[Table, ...]:
    """The whole surface: of each rate, how many seeds have converged by M and steps."""
    header = ("M", "seeds", *(str(steps) for steps in found.budgets))
    return tuple(
        Table(
            f"Converged seeds by M and steps, learning rate {lr:g}, {LABELS[arm]}", header, _rows(found, arm, hubs, lr)
        )
        for lr in found.rates
    )


def _rows(found: Sweep, arm: str, hubs: Sequence[int], lr: float) -> tuple[tuple[str, ...], ...]:
    cells = {m: [found.counts(arm, [m], lr, steps) for steps in found.budgets] for m in hubs}
    return tuple((str(m), str(row[0].trials), *(str(counts.successes) for counts in row)) for m, row in cells.items())


def surface_figures(found: Sweep, arm: str, hubs: Sequence[int]) -> tuple[Curves, ...]:
    """Of each rate, the share of converged seeds over M at up to five budgets."""
    last = len(found.budgets)
    shown = sorted({found.budgets[round(last * part / len(STYLES)) - 1] for part in range(1, len(STYLES) + 1)})
    return tuple(
        Curves(
            f"Convergence over the number of hubs, learning rate {lr:g}",
            "hubs M",
            "share of seeds that converged",
            tuple(
                Series(f"{steps} steps", style, tuple(_point(found.counts(arm, [m], lr, steps), m) for m in hubs))
                for steps, style in zip(shown, STYLES, strict=False)
            ),
            "With one hub no router can distinguish tokens, by construction. The other budgets are in the tables.",
            log_x=True,
        )
        for lr in found.rates
    )


def arms_figures(found: Sweep, hubs: int) -> tuple[Curves, ...]:
    """Of each rate, the share of converged seeds over the steps in both arms."""
    return tuple(
        Curves(
            f"Convergence with {hubs} hubs, learning rate {lr:g}",
            "steps",
            "share of seeds that converged",
            tuple(
                Series(
                    LABELS[arm], style, tuple(_point(found.counts(arm, [hubs], lr, n), n, 0.95) for n in found.budgets)
                )
                for arm, style in ((PLAIN, "causal"), (ORTHOGONAL, "other"))
            ),
        )
        for lr in found.rates
    )


def _point(counts: Counts, x: int, level: float | None = None) -> CurvePoint:
    bounds = rate_interval(counts, level) if level else None
    low, high = (bounds.low, bounds.high) if bounds else (None, None)
    return CurvePoint(x, counts.successes / counts.trials, low, high, "" if level else str(counts))


def _routed(record: Record) -> Routed:
    c, curve = record.config, record.result["curve"]
    recall = {int(step): float(value) for step, value in curve}
    return Routed(str(c["arm"]), int(c["hubs"]), float(c["lr"]), record.seed, record.run, recall)
