"""What a leak is worth: Hub-GPT and its leaky twins trained alike on real text, audited, and evaluated when clean."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from audits.auditor import audit
from audits.corpus import Corpus, load_corpus
from audits.experiment import Experiment, Options, Progress, RunSpec
from audits.influence import influence_map
from audits.leaks import hub_bidirectional_council, hub_selection_in_chunk
from audits.subject import Settings
from audits.training import TrainingConfig, evaluate, train, unigram_nats
from hubrouter import HubRouter, ModelConfig, SequenceModel

# An arm is the layer it is built of; all arms have the same parameters, so weights can be moved between them.
ARMS: Mapping[str, Callable[[ModelConfig], HubRouter] | None] = {
    "clean": None,
    "council": hub_bidirectional_council.layer,
    "selection": hub_selection_in_chunk.layer,
}
MAPPED = 64  # positions of the influence map


@dataclass(frozen=True)
class Size:
    """One tier of the experiment; the numbers are our choice: what shows at small scale and does not take too long."""

    pattern: str
    d_model: int
    n_hubs: int
    k: int
    chunk: int
    vocab_size: int
    steps: int
    batch: int
    seq_len: int
    lr: float
    seeds: int
    valid_tokens: int

    def model(self, vocab_size: int) -> ModelConfig:
        """The model's configuration at this size, for a tokeniser's actual vocabulary."""
        return ModelConfig(
            vocab_size=vocab_size,
            pattern=self.pattern,
            d_model=self.d_model,
            n_hubs=self.n_hubs,
            k=self.k,
            chunk=self.chunk,
        )


TIERS = {
    "quick": Size("HH", 64, 8, 4, 16, 1024, 350, 16, 128, 4e-3, 3, 65_536),
    "full": Size("HHHH", 64, 8, 4, 16, 1024, 650, 16, 128, 4e-3, 5, 131_072),
    "paper": Size("H" * 12, 512, 8, 64, 64, 8192, 3000, 32, 1024, 6e-4, 5, 524_288),
}


def runs(options: Options) -> tuple[RunSpec, ...]:
    """Every arm with every seed; the corpus is part of the configuration, by its content."""
    size = TIERS[options.tier]
    corpus = load_corpus(options.corpus, size.vocab_size)
    corpus.require(size.seq_len, size.batch)
    text = {"name": corpus.name, "sha256": corpus.sha256, "bytes": corpus.n_bytes}
    return tuple(
        RunSpec("leak-worth", {"arm": arm, **asdict(size), "corpus": text}, seed, f"train {arm}, seed {seed}")
        for seed in range(size.seeds)
        for arm in ARMS
    )


def execute(spec: RunSpec, options: Options, progress: Progress) -> dict[str, Any]:
    """Train one arm with one seed, then look at what it learnt."""
    size, arm = TIERS[options.tier], str(spec.config["arm"])
    corpus = load_corpus(options.corpus, size.vocab_size)
    model = build(arm, size.model(corpus.vocab_size), spec.seed).to(options.device)
    training = TrainingConfig(size.steps, size.batch, size.seq_len, size.lr, warmup=size.steps // 10)
    outcome = train(model, corpus, training, spec.seed, progress)
    progress(size.steps, size.steps, "evaluating and auditing the trained weights")
    valid = _evaluate(model, corpus, size)
    return {
        "curve": [list(point) for point in outcome.curve],
        "diverged": outcome.diverged,
        "valid_nats": valid,
        "clean_mask_nats": None if arm == "clean" else _evaluate(_cleaned(model, spec.seed), corpus, size),
        "unigram_nats": unigram_nats(corpus.train, corpus.valid, corpus.vocab_size),
        "bits_per_byte": None if valid is None else corpus.bits_per_byte(valid),
        "parameters": sum(p.numel() for p in model.parameters()),
        **_examined(model, arm, spec.seed, options.device),
    }


def build(arm: str, config: ModelConfig, seed: int) -> SequenceModel:
    """The untrained model of an arm; the same seed gives all arms the same weights."""
    layer = ARMS[arm]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SequenceModel(config, None if layer is None else {"H": layer})


def _cleaned(model: SequenceModel, seed: int) -> SequenceModel:
    """The same weights in the strictly causal model."""
    twin = build("clean", model.config, seed).to(model.embedding.weight.device)
    twin.load_state_dict(model.state_dict())
    return twin


def _evaluate(model: SequenceModel, corpus: Corpus, size: Size) -> float | None:
    """Nats per token; None for a model that diverged, because evidence holds finite numbers only."""
    nats = evaluate(model, corpus.valid, size.seq_len, size.batch, size.valid_tokens)
    return nats if math.isfinite(nats) else None


def _examined(model: SequenceModel, arm: str, seed: int, device: str) -> dict[str, Any]:
    """The audit of the trained weights and, for the first seed, their influence map."""
    chunk = model.config.chunk
    result = audit(
        model, seq_len=6 * chunk, seed=seed, device=device, target=f"trained Hub-GPT, {arm} arm, seed {seed}"
    )
    examined: dict[str, Any] = {"audit": timeless(result.to_dict())}
    if seed == 0 and arm != "selection":
        examined["influence"] = influence_map(model, Settings(seq_len=max(MAPPED, 2 * chunk), device=device))
    return examined


def timeless(document: dict[str, Any]) -> dict[str, Any]:
    """An audit without what differs from run to run, so that the same seed gives the same evidence."""
    document["probes"] = [{**probe, "seconds": 0.0} for probe in document["probes"]]
    return {**document, "environment": {}}


EXPERIMENT = Experiment("leak-worth", runs, execute)
