"""What the claims read from the training runs: arms paired by seed, their losses, and the audits of the weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from audits.claims.figures import DotColumn
from audits.evidence.experiment import Options
from audits.evidence.ledger import Evidence, Record
from audits.experiments.language_models._language_model import KIND, SIZES, Arm
from audits.statistics.comparison import PairedComparison, compare_paired

SEEDS = 3  # the pre-registered number of paired seeds, at least
_VARIED = ("pattern", "routing", "chunk")


@dataclass(frozen=True)
class Trained:
    """One trained model: its losses in nats per token (None where not finite) and the audit of its weights."""

    seed: int
    run: str
    valid_nats: float | None
    clean_mask_nats: float | None
    diverged: bool
    verdict: str
    findings: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Models:
    """The language models of one tier and one setting: everything but pattern, routing and chunk is equal."""

    tier: str
    records: tuple[Record, ...]

    def of(self, arm: Arm) -> tuple[Trained, ...]:
        """The trained models of an arm, by seed."""
        wanted = (arm.pattern, arm.routing, arm.chunk or SIZES[self.tier].chunk)
        found = [r for r in self.records if tuple(r.config[name] for name in _VARIED) == wanted]
        return tuple(sorted((_trained(record) for record in found), key=lambda model: model.seed))

    def complete(self, arms: Iterable[Arm]) -> bool:
        """Whether every arm has been trained with at least `SEEDS` seeds that all arms share."""
        return len(self.seeds(arms)) >= SEEDS

    def seeds(self, arms: Iterable[Arm]) -> tuple[int, ...]:
        """The seeds that all arms have."""
        shared = [{model.seed for model in self.of(arm)} for arm in arms]
        return tuple(sorted(set.intersection(*shared))) if shared else ()

    def paired(self, arms: Sequence[Arm]) -> tuple[tuple[Trained, ...], ...]:
        """The models of every arm with the seeds that all arms have, [arms][seeds]."""
        seeds = self.seeds(arms)
        return tuple(tuple(model for model in self.of(arm) if model.seed in seeds) for arm in arms)

    @property
    def scale(self) -> str:
        """The scale of the runs in a few words."""
        if not self.records:
            return "no runs"
        c, size = self.records[-1].config, SIZES[self.tier]
        shape = f"{size.layers} layers, width {c['d_model']}, n = {c['seq_len']}, {c['steps']} steps"
        return f"{self.tier} tier: {shape}, on {c['corpus']['name']}"


def models(evidence: Evidence) -> Models:
    """The models in the setting of the last run."""
    found = evidence.latest_varying(KIND, _VARIED)
    return Models(str(found[-1].config["tier"]) if found else "quick", found)


def tier_arms(trained: Models, arms: Callable[[Options], Iterable[Arm]]) -> tuple[Arm, ...]:
    """The arms of a study at the tier of the models."""
    return tuple(arms(Options(trained.tier)))


def runs_of(*arms: Sequence[Trained]) -> tuple[str, ...]:
    """The addresses of the models."""
    return tuple(dict.fromkeys(model.run for arm in arms for model in arm))


def losses(arm: Sequence[Trained]) -> list[float]:
    """Validation losses in nats.

    Raises:
        ValueError: a model has none although it did not diverge.
    """
    return [finite(model.valid_nats) for model in arm]


def finite(nats: float | None) -> float:
    """The loss, which a model that did not diverge must have."""
    if nats is None:
        raise ValueError("a model that did not diverge has no finite loss: the evidence contradicts itself")
    return nats


def compare(treated: Sequence[Trained], control: Sequence[Trained]) -> PairedComparison:
    """Treated minus control in nats, paired by seed."""
    return compare_paired(losses(treated), losses(control))


def diverged(*arms: Sequence[Trained]) -> int:
    """How many of the models diverged."""
    return sum(model.diverged for arm in arms for model in arm)


def leaks(arm: Sequence[Trained]) -> bool:
    """Whether the audit found a leak in any of the models."""
    return any(model.verdict == "LEAK" for model in arm)


def passes(arm: Sequence[Trained]) -> bool:
    """Whether all of the models pass the causality gate."""
    return bool(arm) and all(model.verdict == "PASS" for model in arm)


def ratio_text(test: PairedComparison) -> str:
    """A difference of nats as a ratio of perplexities with its 95 % interval."""
    middle, low, high = (math.exp(v) for v in (test.difference, test.interval.low, test.interval.high))
    return f"{middle:.3f} (95 % interval {low:.3f} to {high:.3f})"


def perplexity(arm: Sequence[Trained]) -> str:
    """The geometric mean perplexity of an arm."""
    return f"{math.exp(sum(losses(arm)) / len(arm)):.1f}"


def detectable_text(test: PairedComparison) -> str:
    """The smallest effect that this many seeds find, in per cent of perplexity."""
    return f"{100 * math.expm1(test.mde):.1f} % of perplexity (80 % power, alpha {test.alpha}, {test.n} paired seeds)"


def column(label: str, arm: Sequence[Trained], *, masked: bool = False) -> DotColumn:
    """An arm's perplexities as a column of points; `masked` takes those under the clean mask."""
    scored = [(model.seed, model.clean_mask_nats if masked else model.valid_nats) for model in arm]
    points = tuple((seed, math.exp(nats)) for seed, nats in scored if nats is not None)
    style = "masked" if masked else "leaky" if leaks(arm) else "causal"
    return DotColumn(label, style, points, failed=len(arm) - len(points))


def _trained(record: Record) -> Trained:
    audit = record.result["audit"]
    return Trained(
        record.seed,
        record.run,
        record.result["valid_nats"],
        record.result["clean_mask_nats"],
        record.result["diverged"],
        str(audit["verdict"]),
        tuple(audit["findings"]),
    )
