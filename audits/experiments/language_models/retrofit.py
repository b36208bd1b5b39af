"""Retrofit: a trained Transformer's attention becomes HubRouter in three ways, against two controls of equal budget.

All ways start from one pretrained Transformer and are tuned for the same number of steps. Controls: its attention tuned
as long, and HubRouter trained from scratch for both budgets together, which has what a retrofit has to beat to be worth
its while. Each way's rate is chosen on the tuning slice with a seed of its own; pretraining has the middle rate.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from audits.evidence.experiment import Experiment, Options, Progress, RunSpec
from audits.evidence.ledger import Evidence, Record
from audits.experiments.language_models._arm import FIRST_SEED, JUDGED, SIZES, TUNING, TUNING_SEED, arm_of
from audits.experiments.language_models._language_model import (
    NOT_HASHED,
    block_nats,
    build,
    learn,
    mean_nats,
    slices,
)
from audits.experiments.language_models._tuning import corpus_named, tuned_nats
from audits.experiments.training.corpus import Corpus, load_corpus
from audits.experiments.training.descent import descend
from audits.experiments.training.seeds import stream
from audits.experiments.training.training import TrainingConfig, batches
from audits.experiments.training.tuning import best
from audits.subject.randomness import pinned
from hubrouter import SequenceModel
from hubrouter.model import Block
from hubrouter.patterns import transformer
from hubrouter.retrofit import retrofit

NAME = "retrofit"
TUNING_SHARE = 0.5  # of the pretraining steps (our choice)
ATTENTION, SCRATCH = "attention tuned as long", "HubRouter from scratch"  # the controls
AT_ONCE, LAYER_BY_LAYER, DISTILLED = "at once", "layer by layer", "distilled"
WAYS = (AT_ONCE, LAYER_BY_LAYER, DISTILLED)
TUNED = (ATTENTION, SCRATCH, *WAYS)

Learn = Callable[..., bool]  # a model for some steps at a rate; whether it diverged


def runs(options: Options) -> tuple[RunSpec, ...]:
    """One run a rate, of the tuning seed. None in `quick`, where it takes too long."""
    if options.tier == "quick":
        return ()
    rates = SIZES[options.tier].rates
    return tuple(_spec(options, TUNING, dict.fromkeys(TUNED, r), TUNING_SEED) for r in rates)


def follow_up(options: Options, fresh: Evidence) -> tuple[RunSpec, ...]:
    """The judged seeds, every way at its best rate."""
    tuning, rates = runs(options), dict[str, float]()
    for way in TUNED:
        won = best(tuning, fresh, partial(_lost, way))
        if won is None:
            return ()
        rates[way] = won["rates"][way]
    return tuple(_spec(options, JUDGED, rates, FIRST_SEED + number) for number in range(SIZES[options.tier].seeds))


def _lost(way: str, record: Record) -> float | None:
    return tuned_nats(record.result[way])


def _spec(options: Options, stage: str, rates: Mapping[str, float], seed: int) -> RunSpec:
    size = SIZES[options.tier]
    arm = size.arm(transformer(size.layers))
    config = {"tier": options.tier, "stage": stage, **asdict(arm), **size.shape, "rates": dict(rates)}
    config |= {
        "lr": size.rates[len(size.rates) // 2],
        "tuning": int(TUNING_SHARE * size.steps),
        "corpus": corpus_named(options.corpus, options.tier),
    }
    return RunSpec(NAME, config, seed, f"{stage} retrofit, seed {seed}")


def execute(spec: RunSpec, options: Options, progress: Progress) -> dict[str, Any]:
    """Pretrain, swap and tune in every way; a loss is None where it is not finite."""
    config, rates = spec.config, spec.config["rates"]
    corpus = load_corpus(options.corpus, config["vocab_size"])
    valid, tuning = slices(corpus, config)
    arm = arm_of(config)
    pretrained = build(arm, corpus.vocab_size, spec.seed).to(options.device)
    trained = partial(_trained, corpus, spec, options, progress)
    trained("pretraining", pretrained, config["steps"], config["lr"])

    def measured(model: SequenceModel, *, diverged: bool) -> dict[str, Any]:
        if config["stage"] == TUNING:
            return {"tuning_nats": mean_nats(model, tuning, config), "diverged": diverged}
        return {"block_nats": block_nats(model, valid, config), "diverged": diverged}

    swapped, steps = _swapped(pretrained, spec.seed), config["tuning"]
    result = {"pretrained": measured(pretrained, diverged=False), "just swapped": measured(swapped, diverged=False)}
    models = {ATTENTION: copy.deepcopy(pretrained), AT_ONCE: copy.deepcopy(swapped)}
    for way, model in models.items():
        result[way] = measured(model, diverged=trained(way, model, steps, rates[way]))
    model = copy.deepcopy(pretrained)
    result[LAYER_BY_LAYER] = measured(model, diverged=layer_by_layer(model, spec, trained))
    distil(swapped, pretrained, corpus, config, spec.seed, progress)
    lost = trained(DISTILLED, swapped, steps - steps // 2, rates[DISTILLED])
    result[DISTILLED] = measured(swapped, diverged=lost)
    model = build(replace(arm, pattern=swapped.config.pattern), corpus.vocab_size, spec.seed).to(options.device)
    result[SCRATCH] = measured(model, diverged=trained(SCRATCH, model, config["steps"] + steps, rates[SCRATCH]))
    return result


def layer_by_layer(model: SequenceModel, spec: RunSpec, trained: Learn) -> bool:
    """Swap the next layer, tune all for its share of the steps, and so on; from the first layer to the last."""
    layers, lost = len(model.blocks), False
    for layer in range(layers):
        model.blocks[layer].mixer = _swapped(model, spec.seed).blocks[layer].mixer
        letters = model.config.pattern
        model.config = replace(model.config, pattern=letters[:layer] + "H" + letters[layer + 1 :])
        steps = spec.config["tuning"] // layers
        lost |= trained(f"{LAYER_BY_LAYER} {layer + 1}", model, steps, spec.config["rates"][LAYER_BY_LAYER])
    return lost


def distil(
    student: SequenceModel,
    teacher: SequenceModel,
    corpus: Corpus,
    config: Mapping[str, Any],
    seed: int,
    progress: Progress,
) -> None:
    """Half of the tuning steps: each hub layer learns what the attention that it replaces gives for the same inputs."""
    steps, rate = config["tuning"] // 2, config["rates"][DISTILLED]
    schedule = TrainingConfig(steps, config["batch"], config["seq_len"], rate, warmup=steps // 10)
    mixers, taught = ([cast("Block", block).mixer for block in model.blocks] for model in (student, teacher))
    optimizer = torch.optim.AdamW([p for mixer in mixers for p in mixer.parameters()], lr=rate, betas=(0.9, 0.95))
    seen: list[tuple[Tensor, Tensor]] = []
    hooks = [mixer.register_forward_hook(lambda _, given, out: seen.append((given[0], out))) for mixer in taught]
    device = teacher.embedding.weight.device
    for step, (inputs, _) in enumerate(batches(corpus.train, schedule, stream(seed, "distilling"))):
        seen.clear()
        with torch.no_grad():
            teacher(inputs.to(device))
        losses = [F.mse_loss(mixer(x), y) / y.var() for mixer, (x, y) in zip(mixers, seen, strict=True)]
        loss = torch.stack(losses).sum()
        descend(optimizer, loss, rate=schedule.rate(step))
        progress(step + 1, steps, f"distilling {float(loss.detach()):.3f}")
    for hook in hooks:
        hook.remove()


def _swapped(model: SequenceModel, seed: int) -> SequenceModel:
    """The model with HubRouter for attention; what it has no weights for is drawn from the seed."""
    with pinned(stream(seed, "hubs")):
        return retrofit(model)


def _trained(
    corpus: Corpus,
    spec: RunSpec,
    options: Options,
    progress: Progress,
    stage: str,
    model: SequenceModel,
    steps: int,
    rate: float,
) -> bool:
    """One stage of training, with batches of its own; whether it diverged."""
    config = {**spec.config, "steps": steps, "lr": rate}

    def report_progress(done: int, total: int, note: str = "") -> None:
        progress(done, total, f"{stage}, {note}")

    # Ways of tuning share their batches; pretraining and training from scratch have the same first ones.
    seed = spec.seed if stage in ("pretraining", SCRATCH) else stream(spec.seed, "tuning")
    return bool(learn(model, corpus, config, seed, report_progress, replace(options, checkpoints=None))["diverged"])


EXPERIMENT = Experiment(NAME, runs, execute, not_hashed=NOT_HASHED, follow_up=follow_up)
