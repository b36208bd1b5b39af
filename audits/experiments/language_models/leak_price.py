"""The price of a leak: every planted leak and its control trained and evaluated alike on text, weights exchanged."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from audits.evidence.experiment import Experiment, Options, Progress, RunSpec
from audits.experiments.reference import OTHER_IMPLEMENTATIONS
from audits.experiments.training.corpus import BYTES, Corpus, load_corpus
from audits.experiments.training.training import TrainingConfig, TrainingOutcome, evaluate, train, unigram_nats
from audits.leaks._corpus import all_leaks
from audits.leaks._planted import PlantedLeak, redrawn
from audits.results import LeakClass

NAME = "leak-price"
TRAINED_IN = "float32"  # in the ledger's runs on a CPU; a leak that exists in coarser types only does not show there
# Why a leak of this class cannot lower the loss on one sequence at a time: the measure is blind to it, not the leak.
NOT_PRICED = {
    LeakClass.BATCH: "the leak is across rows of a batch, and no row is another's future",
    LeakClass.STATE: "the leak is across calls, and no call is another's future",
    LeakClass.DECODE: "the leak is in decoding piece by piece; training and evaluation never decode",
    LeakClass.DOCUMENT: "the leak is across packed documents; here a row is one stretch of one text",
}


@dataclass(frozen=True)
class Size:
    """One tier of the experiment; the numbers are our choice: what the smallest models learn in seconds.

    Attributes:
        steps: optimiser steps of each side.
        batch: sequences in a step.
        seq_len: tokens in a sequence, or the leak's own length where that is longer.
        lr: AdamW's peak learning rate.
        seeds: paired seeds a leak.
        valid_tokens: held-out symbols each model is evaluated on.
        leaks: those looked at; empty for all.
    """

    steps: int
    batch: int
    seq_len: int
    lr: float
    seeds: int
    valid_tokens: int
    leaks: tuple[str, ...] = ()

    def training(self, leak: PlantedLeak) -> TrainingConfig:
        """How both sides of a leak are trained."""
        return TrainingConfig(self.steps, self.batch, self.length(leak), self.lr, warmup=self.steps // 10)

    def length(self, leak: PlantedLeak) -> int:
        """Tokens in a sequence: the leak must have room."""
        return max(self.seq_len, leak.seq_len)


QUICK_LEAKS = ("faint_future", "late_chunk_attention", "needle", "next_token_match", "unshifted_resampling_residual")
TIERS = {
    "quick": Size(150, 16, 64, 1e-2, 3, 16_384, QUICK_LEAKS),
    "full": Size(400, 16, 64, 1e-2, 5, 65_536),
    "paper": Size(5000, 32, 64, 1e-2, 10, 262_144),
}


SHAPE = ("steps", "batch", "seq_len", "lr", "valid_tokens")  # the part of a size that defines a run


def why_not(leak: PlantedLeak) -> str | None:
    """Why the price of this leak is not defined in perplexity of a trained language model; None where it is."""
    if leak.vocab_size is None:
        return "a model of features predicts no tokens"
    if not leak.scored:
        return "the leak is in an output that the loss does not score"
    if leak.leaks_in not in (None, TRAINED_IN):
        return f"the leak exists in {leak.leaks_in} only; training and evaluation are in {TRAINED_IN}"
    return NOT_PRICED.get(leak.leak_class)


def priced() -> tuple[PlantedLeak, ...]:
    """Every planted leak whose price is defined."""
    return tuple(leak for leak in all_leaks() if why_not(leak) is None)


def runs(options: Options) -> tuple[RunSpec, ...]:
    """Every leak with every seed, both sides in one run; the corpus is part of the configuration, by its content."""
    size = TIERS[options.tier]
    corpus = _text(options.corpus)
    corpus.require(size.seq_len, size.batch)
    text = {"name": corpus.name, "sha256": corpus.sha256, "bytes": corpus.n_bytes}
    shape = {name: getattr(size, name) for name in SHAPE}
    return tuple(
        RunSpec(
            NAME,
            {"tier": options.tier, "twin": leak.name, **shape, "corpus": text},
            seed,
            f"price of {leak.name}, seed {seed}",
        )
        for seed in range(size.seeds)
        for leak in priced()
        if not size.leaks or leak.name in size.leaks
    )


def execute(spec: RunSpec, options: Options, progress: Progress) -> dict[str, Any]:
    """Train both sides of one leak from the same weights on the same batches, then evaluate them, and exchanged."""
    size = Size(seeds=1, **{name: spec.config[name] for name in SHAPE})
    leak = next(leak for leak in all_leaks() if leak.name == spec.config["twin"])
    corpus = reduced(options.corpus, leak.vocab_size or BYTES)
    leaky, clean = (side.to(options.device) for side in sides(leak, spec.seed))
    with_leak = train(leaky, corpus, size.training(leak), spec.seed, _half(progress, 0, "leaky"))
    without = train(clean, corpus, size.training(leak), spec.seed, _half(progress, 1, "clean"))
    progress(2, 2, "evaluating")

    def nats(model: nn.Module) -> float | None:
        value = evaluate(model, corpus.valid, size.length(leak), 64, size.valid_tokens)
        return value if math.isfinite(value) else None

    result = {"leaky": _side(with_leak, nats(leaky)), "clean": _side(without, nats(clean))}
    exchanged = move(leaky, clean)  # the clean side's own weights are not needed any more
    return {
        **result,
        "leaky_under_clean_nats": nats(clean) if exchanged else None,
        "unigram_nats": unigram_nats(corpus.train, corpus.valid, corpus.vocab_size),
        "leak_class": str(leak.leak_class),
        "vocab_size": corpus.vocab_size,
        "other_share": float((corpus.valid == corpus.vocab_size - 1).double().mean()),
        "parameters": sum(p.numel() for p in leaky.parameters()),
    }


def sides(leak: PlantedLeak, seed: int) -> tuple[nn.Module, nn.Module]:
    """The leaky and the clean model of a seed; they start from the same weights wherever these can be exchanged."""
    with redrawn(seed):
        leaky, clean = leak.leaky(), leak.clean()
    move(leaky, clean)
    return leaky, clean


def move(source: nn.Module, target: nn.Module) -> bool:
    """Copy all weights and buffers; False, with nothing changed, where names or shapes differ."""
    given, own = source.state_dict(), target.state_dict()
    alike = given.keys() == own.keys() and all(given[name].shape == own[name].shape for name in own)
    if alike:
        target.load_state_dict(given)
    return alike


@lru_cache(maxsize=2)
def reduced(path: str | None, vocab_size: int) -> Corpus:
    """The corpus as symbols of a small alphabet: its most frequent bytes, and one symbol for all others.

    Frequencies are those of the training part. Symbol s < V - 1 is the byte of rank s, V - 1 is every other byte, V
    being `vocab_size`; an alphabet of more than 256 leaves the rest unused. `bits_per_byte` of such a corpus would be
    that of the symbols, so it is not used.
    """
    corpus = _text(path)
    order = torch.bincount(corpus.train, minlength=corpus.vocab_size).argsort(descending=True, stable=True)
    symbol = torch.empty_like(order)
    symbol[order] = torch.arange(order.numel()).clamp(max=vocab_size - 1)
    return replace(corpus, train=symbol[corpus.train], valid=symbol[corpus.valid], vocab_size=vocab_size)


@lru_cache(maxsize=1)
def _text(path: str | None) -> Corpus:
    """The corpus as bytes; kept, because a process trains many of these small models on it."""
    return load_corpus(path, BYTES)


def _half(progress: Progress, side: int, name: str) -> Progress:
    """Progress of one of the two sides."""

    def report_progress(done: int, total: int, note: str = "") -> None:
        progress(side * total + done, 2 * total, f"{name}, {note}")

    return report_progress


def _side(outcome: TrainingOutcome, valid_nats: float | None) -> dict[str, Any]:
    """What one side came to; the last stretch of its training loss shows what a leak in training alone gains there."""
    train_nats = outcome.curve[-1].nats if outcome.curve else None
    return {"valid_nats": valid_nats, "train_nats": train_nats, "diverged": outcome.diverged or valid_nats is None}


EXPERIMENT = Experiment(NAME, runs, execute, not_hashed=OTHER_IMPLEMENTATIONS)
