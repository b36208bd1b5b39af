"""Retrofit: a trained Transformer's attention swapped for HubRouter and tuned, against a control tuned as long."""

from __future__ import annotations

import copy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from audits.evidence.experiment import Experiment, Options, Progress, RunSpec
from audits.experiments.language_models._language_model import NOT_HASHED, SIZES, build, corpus_named, nats
from audits.experiments.training.corpus import load_corpus
from audits.experiments.training.training import TrainingConfig, train
from hubrouter import SequenceModel
from hubrouter.patterns import transformer
from hubrouter.retrofit import retrofit

NAME = "retrofit"
TUNING_SHARE = 0.5  # of the pretraining steps (our choice); the control gets the same
RATES = (0.25, 1.0)  # tuning rates as shares of the pretraining rate: gentle, and as in pretraining (our choice)


def runs(options: Options) -> tuple[RunSpec, ...]:
    """One run a seed: pretraining, then both ways of tuning at each rate. None in `quick`, where it takes too long."""
    if options.tier == "quick":
        return ()
    size = SIZES[options.tier]
    shape = {name: value for name, value in asdict(size).items() if name not in ("layers", "seeds")}
    config = {
        "tier": options.tier,
        "pattern": transformer(size.layers),
        "routing": "causal",
        "tuning": {"steps": int(TUNING_SHARE * size.steps), "rates": list(RATES)},
        **shape,
        "corpus": corpus_named(options, size),
    }
    return tuple(RunSpec(NAME, config, seed, f"retrofit, seed {seed}") for seed in range(size.seeds))


def execute(spec: RunSpec, options: Options, progress: Progress) -> dict[str, Any]:
    """Pretrain, swap, tune; every loss in nats per token, None where it is not finite."""
    config = spec.config
    corpus = load_corpus(options.corpus, config["vocab_size"])
    model = build(config, corpus.vocab_size, spec.seed).to(options.device)
    before = _train(model, spec, options, progress, "pretraining", config["steps"], config["lr"])
    swapped = _swapped(model, spec.seed)
    result: dict[str, Any] = {
        "pretrained": {**before, "valid_nats": nats(model, corpus, config)},
        "swapped_nats": nats(swapped, corpus, config),
        "tuned": [],
    }
    for share in config["tuning"]["rates"]:
        for name, start in (("control", model), ("retrofit", swapped)):
            tuned = copy.deepcopy(start)
            steps, rate = config["tuning"]["steps"], share * config["lr"]
            trained = _train(tuned, spec, options, progress, f"{name} at {share:g}", steps, rate)
            result["tuned"].append({"arm": name, "rate": share, **trained, "valid_nats": nats(tuned, corpus, config)})
    return result


def _swapped(model: SequenceModel, seed: int) -> SequenceModel:
    """The model with HubRouter for attention; what it has no weights for is drawn from the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return retrofit(model)


def _train(
    model: SequenceModel, spec: RunSpec, options: Options, progress: Progress, stage: str, steps: int, rate: float
) -> dict[str, Any]:
    """One stage of training; tuning sees other batches than pretraining."""
    config = spec.config
    corpus = load_corpus(options.corpus, config["vocab_size"])
    schedule = TrainingConfig(steps, config["batch"], config["seq_len"], rate, warmup=steps // 10)
    kept = None if options.checkpoints is None else Path(options.checkpoints) / f"{stage.replace(' ', '-')}.safetensors"

    def report_progress(done: int, total: int, note: str = "") -> None:
        progress(done, total, f"{stage}, {note}")

    seed = spec.seed if stage == "pretraining" else spec.seed + 1000
    outcome = train(model, corpus, schedule, seed, report_progress, checkpoint=kept)
    return {"curve": [list(point) for point in outcome.curve], "diverged": outcome.diverged}


EXPERIMENT = Experiment(NAME, runs, execute, not_hashed=NOT_HASHED)
