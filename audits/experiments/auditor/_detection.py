"""How often, not whether: detection and false-alarm rates of every probe, read from the runs of `detection-power`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from audits.evidence.ledger import Evidence, Record
from audits.statistics.counts import Counts, largest_rate, least_rate

EXPERIMENT = "detection-power"
AUDIT, QUICK = (
    "audit",
    "quick preset",
)  # rows besides those of the probes: all of them together, and those of the preset
FLOOR = 0.95  # our choice: a probe claims a leak if it sees it in at least this share of draws,
CONFIDENCE = 0.95  # shown at this (one-sided) confidence
DRAWS_NEEDED = 59  # the fewest draws, all of them seen, that show it: 0.95^59 < 0.05


@dataclass(frozen=True)
class Detection:
    """In how many draws of weights and inputs a probe saw a leak, of those in which it had something to look at."""

    leak: str
    probe: str
    counts: Counts

    @property
    def least(self) -> float:
        """The rate that is exceeded at the confidence."""
        return least_rate(self.counts, CONFIDENCE)

    @property
    def below(self) -> bool:
        """Whether the rate is below the floor at the confidence."""
        return largest_rate(self.counts, CONFIDENCE) < FLOOR

    @property
    def shown(self) -> bool:
        """Whether the rate is at or above the floor at the confidence."""
        return self.least >= FLOOR


@dataclass(frozen=True)
class Alarms:
    """How often a probe called a causal model leaky, and how often it could not decide."""

    probe: str
    counts: Counts
    undecided: int
    models: tuple[str, ...]  # called leaky

    @property
    def most(self) -> float:
        """The rate that is not exceeded at the confidence; about 3 / draws without an alarm."""
        return largest_rate(self.counts, CONFIDENCE)


def power_records(evidence: Evidence, leaks: Iterable[str] | None = None) -> tuple[Record, ...]:
    """The runs of the study; with `leaks`, only those of leaks that are planted still and of models without one."""
    found = evidence.of(EXPERIMENT)
    known = None if leaks is None else set(leaks)
    return tuple(r for r in found if known is None or "twin" not in r.config or r.config["twin"] in known)


def detections(records: Iterable[Record]) -> tuple[Detection, ...]:
    """Every probe on every leak, by leak and probe; draws in which a probe had nothing to look at do not count."""
    counts = _summed((str(r.config["twin"]), r.result["leaky"]) for r in records if "twin" in r.config)
    return tuple(
        Detection(leak, probe, Counts(verdicts["LEAK"], verdicts.total()))
        for (leak, probe), verdicts in sorted(counts.items())
        if verdicts.total()
    )


def alarms(records: Iterable[Record]) -> tuple[Alarms, ...]:
    """Every probe on all causal models together, by name."""
    counts = _summed((str(r.config.get("twin", r.config.get("causal"))), r.result["clean"]) for r in records)
    probes = sorted({probe for _, probe in counts})
    return tuple(_alarms(probe, {m: v for (m, p), v in counts.items() if p == probe}) for probe in probes)


def _alarms(probe: str, by_model: dict[str, Counter[str]]) -> Alarms:
    total = sum(by_model.values(), Counter[str]())
    called = tuple(sorted(model for model, verdicts in by_model.items() if verdicts["LEAK"]))
    return Alarms(probe, Counts(total["LEAK"], max(total.total(), 1)), total["UNDETERMINED"], called)


def _summed(results: Iterable[tuple[str, dict[str, Any]]]) -> dict[tuple[str, str], Counter[str]]:
    """Verdicts counted by model and probe."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    for model, probes in results:
        for probe, verdicts in probes.items():
            counts.setdefault((model, probe), Counter()).update(verdicts)
    return counts
