"""What the claims read from the training runs: arms paired by seed and block of text, and the audits of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from audits.claims.figures import DotColumn, DotPoint
from audits.evidence.ledger import Evidence, Record
from audits.experiments.language_models._arm import JUDGED, SIZES, Arm, arm_of
from audits.experiments.language_models._tuning import KIND
from audits.statistics.crossed import Matrix, PairedComparison, crossed
from audits.statistics.levels import ALPHA

SEEDS = 3  # the pre-registered number of paired seeds, at least
Blocks = tuple[float, ...]


@dataclass(frozen=True)
class Trained:
    """One trained model: nats per token of each block of the validation slice, and the audit of its weights.

    `blocks` is None where not finite; `masked` the same weights' under the clean mask, None for an arm that has it.
    """

    seed: int
    run: str
    blocks: Blocks | None
    masked: Blocks | None
    diverged: bool
    verdict: str
    findings: tuple[dict[str, Any], ...] = ()
    result: Mapping[str, Any] = field(default_factory=dict)
    rate: float = 0.0

    @property
    def nats(self) -> float:
        """The mean loss."""
        return mean(self.blocks)

    @property
    def masked_nats(self) -> float:
        """The mean loss under the clean mask."""
        return mean(self.masked)


def mean(blocks: Blocks | None) -> float:
    """The mean of the blocks.

    Raises:
        ValueError: there are none although the model did not diverge.
    """
    if blocks is None:
        raise ValueError("a model that did not diverge has no finite loss: the evidence contradicts itself")
    return sum(blocks) / len(blocks)


Runs = tuple[Trained, ...]


@dataclass(frozen=True)
class Models:
    """The judged language models of one tier, by arm and seed; of several records of one the last counts."""

    tier: str
    by_arm: Mapping[Arm, Runs]
    setting: Mapping[str, Any]

    def of(self, arm: Arm) -> Runs:
        """The trained models of an arm, by seed."""
        return self.by_arm.get(arm, ())

    def complete(self, arms: Iterable[Arm]) -> bool:
        """Whether every arm has been trained with at least `SEEDS` seeds that all arms share."""
        shared = [{model.seed for model in self.of(arm)} for arm in arms]
        return bool(shared) and len(set.intersection(*shared)) >= SEEDS

    @property
    def scale(self) -> str:
        """The scale of the runs in a few words."""
        c = self.setting
        if not c:
            return "no runs"
        shape = f"n = {c['seq_len']}, {c['steps']} steps of {c['batch']}, each arm's rate tuned"
        return f"{self.tier} tier: {shape if len(SIZES[self.tier].rates) > 1 else shape.split(', each')[0]}"


def models(evidence: Evidence) -> Models:
    """The models of the evidence, which is that of one tier."""
    found: dict[Arm, dict[int, Trained]] = {}
    setting: Mapping[str, Any] = {}
    for record in evidence.records:
        if record.experiment == KIND and record.config.get("stage") == JUDGED:
            found.setdefault(arm_of(record.config), {})[record.seed] = _trained(record)
            setting = record.config
    by_arm = {arm: tuple(runs[seed] for seed in sorted(runs)) for arm, runs in found.items()}
    return Models(str(setting.get("tier", "quick")), by_arm, setting)


def _trained(record: Record) -> Trained:
    result, audit = record.result, record.result["audit"]
    blocks, masked = result["block_nats"], result["clean_mask_blocks"]
    return Trained(
        record.seed,
        record.run,
        None if blocks is None else tuple(blocks),
        None if masked is None else tuple(masked),
        result["diverged"],
        str(audit["verdict"]),
        tuple(audit["findings"]),
        result,
        float(record.config["lr"]),
    )


def runs_of(*arms: Sequence[Trained]) -> tuple[str, ...]:
    """The addresses of the models."""
    return tuple(dict.fromkeys(model.run for arm in arms for model in arm))


def differences(weighted: Sequence[tuple[float, Sequence[Trained]]], *, masked: bool = False) -> Matrix:
    """A weighted sum of arms in nats, [seeds that all have][blocks].

    Args:
        weighted: weights and arms.
        masked: take the first arm's losses under the clean mask.
    """
    known = [{model.seed: model for model in arm} for _, arm in weighted]
    seeds = sorted(set.intersection(*(set(arm) for arm in known)))
    return [
        [
            sum(weight * value for (weight, _), value in zip(weighted, values, strict=True))
            for values in zip(*(_blocks(arm[seed], masked and not at) for at, arm in enumerate(known)), strict=True)
        ]
        for seed in seeds
    ]


def _blocks(model: Trained, masked: bool) -> Blocks:
    blocks = model.masked if masked else model.blocks
    if blocks is None:
        raise ValueError("a model that did not diverge has no finite loss: the evidence contradicts itself")
    return blocks


def compare(treated: Sequence[Trained], control: Sequence[Trained], *, masked: bool = False) -> PairedComparison:
    """Treated minus control in nats, paired by seed and block; `masked` takes the treated under the clean mask."""
    return crossed(differences([(1.0, treated), (-1.0, control)], masked=masked))


def diverged(*arms: Sequence[Trained]) -> int:
    """How many of the models diverged."""
    return sum(model.diverged or model.blocks is None for arm in arms for model in arm)


def leaks(arm: Sequence[Trained]) -> bool:
    """Whether the audit found a leak in any of the models."""
    return any(model.verdict == "LEAK" for model in arm)


def passes(arm: Sequence[Trained]) -> bool:
    """Whether all of the models pass the causality gate."""
    return bool(arm) and all(model.verdict == "PASS" for model in arm)


def ratio_text(test: PairedComparison, digits: int = 3) -> str:
    """A difference of nats as a ratio of perplexities with its 95 % interval."""
    middle, low, high = (math.exp(v) for v in (test.difference, test.interval.low, test.interval.high))
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def perplexity(arm: Sequence[Trained], *, masked: bool = False) -> str:
    """The geometric mean perplexity of an arm."""
    values = [model.masked_nats if masked else model.nats for model in arm]
    return f"{math.exp(sum(values) / len(values)):.1f}"


def detectable_text(test: PairedComparison) -> str:
    """The smallest effect that this many seeds find, in per cent of perplexity."""
    return f"{100 * math.expm1(test.mde):.1f} % of perplexity (80 % power, alpha {ALPHA}, {test.n} paired seeds)"


def bidirectional_text(leaky: Sequence[Trained], control: Sequence[Trained]) -> str:
    """What a bidirectional arm, which is void where it leaks, has against its control."""
    seen = "leaks" if leaks(leaky) else "shows no leak"
    return f"With bidirectional routing, whose audit {seen}, the ratio is {ratio_text(compare(leaky, control))}"


def rates_text(arm: Sequence[Trained], tier: str) -> str:
    """The learning rate of an arm, marked where it lies at an edge of the grid."""
    rates = SIZES[tier].rates
    chosen = arm[0].rate
    return f"{chosen:g}" + (" (edge)" if len(rates) > 1 and chosen in (min(rates), max(rates)) else "")


def column(label: str, arm: Sequence[Trained], *, masked: bool = False) -> DotColumn:
    """An arm's perplexities as a column of points; `masked` takes those under the clean mask."""
    scored = [(model.seed, model.masked if masked else model.blocks) for model in arm]
    points = tuple(DotPoint(seed, math.exp(mean(blocks))) for seed, blocks in scored if blocks is not None)
    style = "masked" if masked else "leaky" if leaks(arm) else "causal"
    return DotColumn(label, style, points, failed=len(arm) - len(points))
