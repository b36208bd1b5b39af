"""Every arm's learning rate, chosen on a slice of text of its own with the same budget, and the runs that follow."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
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
)
from audits.experiments.training.corpus import load_corpus
from audits.experiments.training.tuning import best

KIND = "language-model"
Cells = Callable[[str], tuple[Cell, ...]]  # of a tier


def tuning_runs(cells: Iterable[Cell], options: Options) -> tuple[RunSpec, ...]:
    """Every arm at every rate; none where the tier has a single rate."""
    if len(SIZES[options.tier].rates) < 2:
        return ()
    return tuple(spec for arm in dict.fromkeys(cell.tuned for cell in cells) for spec in tuning_specs(arm, options))


def judged_runs(cells: Iterable[Cell], options: Options, fresh: Evidence) -> tuple[RunSpec, ...]:
    """Every arm whose rate is known, seed by seed, so that an interrupted study has all arms of some seeds."""
    known = [(cell, rate_of(cell.tuned, options, fresh)) for cell in cells]
    return tuple(
        spec_of(cell.arm, JUDGED, rate, FIRST_SEED + number, options)
        for number in range(max((cell.seeds for cell, _ in known), default=0))
        for cell, rate in known
        if rate is not None and number < cell.seeds
    )


def rate_of(arm: Arm, options: Options, evidence: Evidence) -> float | None:
    """The rate of the lowest loss on the tuning slice, the middle one where all diverge; None while one is missing."""
    rates = SIZES[options.tier].rates
    if len(rates) < 2:
        return rates[0]
    config = best(tuning_specs(arm, options), evidence, lambda record: tuned_nats(record.result))
    return None if config is None else float(config["lr"])


def tuning_specs(arm: Arm, options: Options) -> tuple[RunSpec, ...]:
    """An arm at every rate."""
    return tuple(spec_of(arm, TUNING, rate, TUNING_SEED, options) for rate in SIZES[options.tier].rates)


def tuned_nats(result: Mapping[str, Any]) -> float | None:
    """The loss on the tuning slice; None where the run diverged."""
    return None if result["diverged"] else result["tuning_nats"]


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
