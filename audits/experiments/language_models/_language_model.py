"""One language model trained, evaluated and audited: the run that several studies share.

A study lists arms; an arm is a layer pattern, how its hub layers route, and their chunk size. Equal arms of two studies
are one run. All sizes are our choice, because the paper prints none: `quick` and `full` are what shows at small scale
on a CPU, `paper` has the paper's 12 layers, n = 1024 and 3000 steps.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from audits.auditor.audit import audit
from audits.auditor.presets import PRESETS
from audits.evidence.experiment import Experiment, Options, Progress, RunSpec
from audits.experiments.language_models._selection import selection_shares
from audits.experiments.reference import OTHER_IMPLEMENTATIONS
from audits.experiments.training.corpus import Corpus, load_corpus
from audits.experiments.training.training import TrainingConfig, evaluate, train, unigram_nats
from audits.instruments.influence import influence_map
from audits.leaks import hub_bidirectional_council, hub_selection_in_chunk
from audits.subject.settings import Settings
from hubrouter import HubRouter, ModelConfig, SequenceModel

KIND = "language-model"
CAUSAL, BIDIRECTIONAL, COUNCIL, SELECTION = "causal", "bidirectional", "council", "selection"
# How the hub layers route. All have the same parameters, so weights can be moved into the strictly causal layer.
ROUTINGS: Mapping[str, Callable[[ModelConfig], HubRouter] | None] = {
    CAUSAL: None,
    BIDIRECTIONAL: None,  # ModelConfig.causal is off: the layer as published for hybrids
    COUNCIL: hub_bidirectional_council.layer,
    SELECTION: hub_selection_in_chunk.layer,
}
# What does not decide the losses: instruments look at the trained weights afterwards; the tokens are part of the
# configuration, however they were read; a resumed run ends bit for bit like one that was never stopped.
NOT_HASHED = (
    *OTHER_IMPLEMENTATIONS,
    "audits.auditor.audit",
    "audits.experiments.language_models._selection",
    "audits.experiments.training.checkpoint",
    "audits.experiments.training.corpus",
    "audits.instruments.influence",
    "audits.auditor.presets",
    "audits.subject.settings",
)
MAPPED = 64  # positions of the influence map
SHOWN = 2  # findings kept of an audit


@dataclass(frozen=True)
class Size:
    """The scale of a tier."""

    layers: int
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


# Of an audit that a run records a re-check compares the verdict: places, times and wording change with the auditor.
AUDITED = ("audit.findings*", "audit.probes*", "audit.settings*", "audit.schema", "audit.target")
SIZES = {
    "quick": Size(2, 64, 8, 4, 16, 1024, 350, 16, 128, 4e-3, 3, 65_536),
    "full": Size(4, 64, 8, 4, 16, 1024, 650, 8, 128, 4e-3, 5, 65_536),
    "paper": Size(12, 512, 8, 16, 64, 8192, 3000, 32, 1024, 6e-4, 5, 524_288),
}


@dataclass(frozen=True)
class Arm:
    """One side of a comparison; `chunk` None is the tier's."""

    pattern: str
    routing: str = CAUSAL
    chunk: int | None = None


def language_models(arms: Iterable[Arm], options: Options) -> tuple[RunSpec, ...]:
    """Every arm with every seed of the tier, seed by seed; the corpus is part of the configuration, by its content."""
    size, arms = SIZES[options.tier], tuple(arms)
    if not arms:
        return ()
    shape = {name: value for name, value in asdict(size).items() if name not in ("layers", "chunk", "seeds")}
    shared = {"tier": options.tier, **shape, "corpus": corpus_named(options, size)}
    return tuple(
        RunSpec(KIND, {**shared, **_named(arm, size)}, seed, f"train {arm.pattern} {arm.routing}, seed {seed}")
        for seed in range(size.seeds)
        for arm in arms
    )


def corpus_named(options: Options, size: Size) -> dict[str, Any]:
    """The corpus by its name, its content and its tokens, once it is known to be long enough."""
    corpus = load_corpus(options.corpus, size.vocab_size)
    corpus.require(size.seq_len, size.batch)
    tokens = hashlib.sha256(corpus.train.numpy().tobytes() + b"|" + corpus.valid.numpy().tobytes()).hexdigest()[:16]
    return {"name": corpus.name, "sha256": corpus.sha256, "bytes": corpus.n_bytes, "tokens": tokens}


def _named(arm: Arm, size: Size) -> dict[str, Any]:
    return {"pattern": arm.pattern, "routing": arm.routing, "chunk": arm.chunk or size.chunk}


def study(name: str, arms: Callable[[Options], Iterable[Arm]]) -> Experiment:
    """An experiment that trains these arms."""
    return Experiment(
        name,
        lambda options: language_models(arms(options), options),
        execute,
        kind=KIND,
        not_hashed=NOT_HASHED,
        not_compared=AUDITED,
    )


def execute(spec: RunSpec, options: Options, progress: Progress) -> dict[str, Any]:
    """Train one arm with one seed, then look at what it learnt."""
    config = spec.config
    corpus = load_corpus(options.corpus, config["vocab_size"])
    model = build(config, corpus.vocab_size, spec.seed).to(options.device)
    kept = None if options.checkpoints is None else Path(options.checkpoints) / "training.safetensors"
    outcome = train(model, corpus, training(config), spec.seed, progress, checkpoint=kept)
    progress(config["steps"], config["steps"], "evaluating and auditing the trained weights")
    valid = nats(model, corpus, config)
    return {
        "curve": [list(point) for point in outcome.curve],
        "diverged": outcome.diverged,
        "valid_nats": valid,
        "clean_mask_nats": None if config["routing"] == CAUSAL else nats(_cleaned(model, spec), corpus, config),
        "unigram_nats": unigram_nats(corpus.train, corpus.valid, corpus.vocab_size),
        "bits_per_byte": None if valid is None else corpus.bits_per_byte(valid),
        "parameters": sum(p.numel() for p in model.parameters()),
        "selection": _selection(model, corpus, spec),
        **_examined(model, spec, options.device),
    }


def training(config: Mapping[str, Any]) -> TrainingConfig:
    """The schedule of a run."""
    steps = config["steps"]
    return TrainingConfig(steps, config["batch"], config["seq_len"], config["lr"], warmup=steps // 10)


def build(config: Mapping[str, Any], vocab_size: int, seed: int, *, clean: bool = False) -> SequenceModel:
    """The untrained model of an arm; arms with the same parameters get the same weights from the same seed.

    Args:
        config: of the run.
        vocab_size: of the tokeniser, which may be smaller than asked for.
        seed: of the weights.
        clean: build the strictly causal model of the same parameters instead.
    """
    routing = CAUSAL if clean else config["routing"]
    layer = ROUTINGS[routing]
    shape = ModelConfig(
        vocab_size=vocab_size,
        pattern=config["pattern"],
        d_model=config["d_model"],
        n_hubs=config["n_hubs"],
        k=config["k"],
        chunk=config["chunk"],
        causal=routing != BIDIRECTIONAL,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SequenceModel(shape, None if layer is None else {"H": layer})


def _cleaned(model: SequenceModel, spec: RunSpec) -> SequenceModel:
    """The same weights in the strictly causal model."""
    control = build(spec.config, model.config.vocab_size, spec.seed, clean=True).to(model.embedding.weight.device)
    control.load_state_dict(model.state_dict())
    return control


def nats(model: SequenceModel, corpus: Corpus, config: Mapping[str, Any]) -> float | None:
    """Validation nats per token; None for a model that diverged, because evidence holds finite numbers only."""
    found = evaluate(model, corpus.valid, config["seq_len"], config["batch"], config["valid_tokens"])
    return found if math.isfinite(found) else None


def _selection(model: SequenceModel, corpus: Corpus, spec: RunSpec) -> dict[str, Any]:
    """From where the hub layers select, untrained and trained; nothing where the layer is not the causal one."""
    if spec.config["routing"] != CAUSAL or "H" not in spec.config["pattern"]:
        return {}
    tokens = corpus.valid.to(model.embedding.weight.device)
    fresh = build(spec.config, corpus.vocab_size, spec.seed).to(tokens.device)
    return {"fresh": selection_shares(fresh, tokens), "trained": selection_shares(model, tokens)}


def _examined(model: SequenceModel, spec: RunSpec, device: str) -> dict[str, Any]:
    """The audit of the trained weights and, for the first seed of a Hub-GPT, their influence map.

    The first seed meets every probe, the others the quick preset, which sees every planted leak.
    """
    config, chunk = spec.config, spec.config["chunk"]
    name = f"trained {config['pattern']}, {config['routing']} routing, seed {spec.seed}"
    probes = PRESETS["quick"] if spec.seed else None
    result = audit(model, seq_len=6 * chunk, seed=spec.seed, device=device, target=name, probes=probes)
    examined: dict[str, Any] = {"audit": timeless(result.to_dict())}
    if spec.seed == 0 and set(config["pattern"]) == {"H"} and config["routing"] in (CAUSAL, COUNCIL):
        examined["influence"] = influence_map(model, Settings(seq_len=max(MAPPED, 2 * chunk), device=device))
    return examined


def timeless(document: dict[str, Any]) -> dict[str, Any]:
    """An audit without what differs from run to run, so that the same seed gives the same evidence."""
    probes = [{**probe, "seconds": 0.0} for probe in document["probes"]]
    return {**document, "probes": probes, "findings": list(document["findings"])[:SHOWN], "environment": {}}
