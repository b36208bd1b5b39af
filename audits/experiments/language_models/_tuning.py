"""Every arm's learning rate, chosen on a slice of text of its own with the same budget, and the runs that follow."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Any

from audits.evidence.experiment import Options, RunSpec
from audits.evidence.ledger import Evidence
from audits.experiments.language_models._arm import (
    FIRST_SEED,
    JUDGED,
    SIZES,
    TUNING,
    TUNING_SEED,
    Arm,
    Cell,
    arm_of,
)
from audits.experiments.training.corpus import load_corpus

KIND = "language-model"
Cells = Callable[[str], tuple[Cell, ...]]  # of a tier


def tuning_runs(cells: Iterable[Cell], options: Options) -> tuple[RunSpec, ...]:
    """Every arm at every rate; none where the tier has a single rate."""
    size = SIZES[options.tier]
    if len(size.rates) < 2:
        return ()
    arms = dict.fromkeys(cell.tuned for cell in cells)
    return tuple(spec_of(arm, TUNING, rate, TUNING_SEED, options) for arm in arms for rate in size.rates)


def judged_runs(cells: Iterable[Cell], options: Options, fresh: Evidence) -> tuple[RunSpec, ...]:
    """Every arm whose rate is known, seed by seed, so that an interrupted study has all arms of some seeds."""
    known = [(cell, rate_of(cell.tuned, options.tier, fresh)) for cell in cells]
    return tuple(
        spec_of(cell.arm, JUDGED, rate, FIRST_SEED + number, options)
        for number in range(max((cell.seeds for cell, _ in known), default=0))
        for cell, rate in known
        if rate is not None and number < cell.seeds
    )


def rate_of(arm: Arm, tier: str, evidence: Evidence) -> float | None:
    """The rate of the lowest loss on the tuning slice, the middle one where all diverge; None while one is missing."""
    rates = SIZES[tier].rates
    if len(rates) < 2:
        return rates[0]
    found = {
        float(record.config["lr"]): tuned_nats(record.result)
        for record in evidence.of(KIND)
        if record.config["tier"] == tier and record.config["stage"] == TUNING and arm_of(record.config) == arm
    }
    return None if set(found) < set(rates) else best_rate(rates, found)


def best_rate(rates: Sequence[float], nats: Mapping[float, float]) -> float:
    """The rate of the lowest loss, the middle one where none is finite."""
    best = min(rates, key=nats.__getitem__)
    return best if math.isfinite(nats[best]) else rates[len(rates) // 2]


def tuned_nats(result: Mapping[str, Any]) -> float:
    """The loss on the tuning slice; infinite where the run diverged."""
    nats = result["tuning_nats"]
    return math.inf if nats is None or result["diverged"] else float(nats)


def spec_of(arm: Arm, stage: str, rate: float, seed: int, options: Options) -> RunSpec:
    """One run; the texts are part of its configuration, by their content."""
    size = SIZES[options.tier]
    own = {"text_tokens": corpus_named(arm.text, options.tier)["tokens"]} if arm.text else {}
    config = {"tier": options.tier, "stage": stage, **asdict(arm), **size.shape, "lr": rate, **own}
    config["corpus"] = corpus_named(options.corpus, options.tier)
    return RunSpec(KIND, config, seed, f"{stage} {arm.pattern} {arm.routing} at {rate:g}, seed {seed}")


def corpus_named(path: str | None, tier: str) -> dict[str, Any]:
    """The corpus by its name, its content and its tokens, once it is known to be long enough."""
    size = SIZES[tier]
    return _identity(path, size.vocab_size, size.seq_len, size.batch)


@lru_cache(maxsize=8)
def _identity(path: str | None, vocab_size: int, seq_len: int, batch: int) -> dict[str, Any]:
    corpus = load_corpus(path, vocab_size)
    corpus.require(seq_len, batch)
    tokens = hashlib.sha256(corpus.train.numpy().tobytes() + b"|" + corpus.valid.numpy().tobytes()).hexdigest()[:16]
    return {"name": corpus.name, "sha256": corpus.sha256, "bytes": corpus.n_bytes, "tokens": tokens}


def stream(seed: int, purpose: str) -> int:
    """A seed of its own for each purpose: weights and the order of batches are drawn independently."""
    return int.from_bytes(hashlib.sha256(f"{purpose} {seed}".encode()).digest()[:4]) >> 1
