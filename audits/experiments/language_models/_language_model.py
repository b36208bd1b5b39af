"""One language model trained, evaluated and audited: the run that several studies share.

A study lists cells: an arm and how many seeds judge it. Equal arms of two studies are one run. All sizes are our
choice, because the paper prints none: `quick` and `full` are what shows at small scale on a CPU, `paper` has the
paper's 12 layers, n = 1024 and 3000 steps. The protocol is docs/protocol.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from audits.auditor.audit import audit
from audits.auditor.presets import PRESETS
from audits.evidence.experiment import Experiment, Options, Progress, RunSpec
from audits.experiments.language_models._arm import BIDIRECTIONAL, CAUSAL, FIRST_SEED, SIZES, TUNING, Arm, Size, arm_of
from audits.experiments.language_models._doses import COUNCIL, ROUTINGS, SAFE, readable
from audits.experiments.language_models._selection import selection_shares
from audits.experiments.language_models._tuning import KIND, Cells, judged_runs, tuning_runs
from audits.experiments.reference import OTHER_IMPLEMENTATIONS
from audits.experiments.training.corpus import Corpus, load_corpus
from audits.experiments.training.evaluation import window_nats
from audits.experiments.training.seeds import stream
from audits.experiments.training.training import TrainingConfig, train, unigram_nats
from audits.instruments.influence import influence_map
from audits.subject.randomness import pinned
from audits.subject.settings import Settings
from hubrouter import ModelConfig, SequenceModel
from hubrouter.adaptive import hub_counts, open_hubs

# What does not decide the losses: the plan's numbers and the tokens are part of the configuration; instruments look at
# the trained weights afterwards; a resumed run ends bit for bit like one that was never stopped.
NOT_HASHED = (
    *OTHER_IMPLEMENTATIONS,
    "audits.auditor.audit",
    "audits.auditor.presets",
    "audits.experiments.language_models._arm",
    "audits.experiments.language_models._selection",
    "audits.experiments.training.checkpoint",
    "audits.experiments.training.corpus",
    "audits.instruments.influence",
    "audits.subject.settings",
)
# Of an audit that a run records a re-check compares the verdict: places, times and wording change with the auditor.
AUDITED = ("audit.findings*", "audit.probes*", "audit.settings*", "audit.schema", "audit.target")
BLOCKS = 64  # of the validation slice, each of consecutive windows: their noise is part of every interval
STAGES = (0.1, 0.25, 0.5)  # of training, at which the loss is looked at on a quarter of the validation slice
MAPPED = 64  # positions of the influence map
SHOWN = 2  # findings kept of an audit
GROWTH = 8  # times the training length at which operations are counted too


def study(name: str, cells: Cells) -> Experiment:
    """An experiment on these cells: rates first, then the judged runs."""
    return Experiment(
        name,
        lambda options: tuning_runs(cells(options.tier), options),
        execute,
        kind=KIND,
        not_hashed=NOT_HASHED,
        not_compared=AUDITED,
        follow_up=lambda options, fresh: judged_runs(cells(options.tier), options, fresh),
    )


def execute(spec: RunSpec, options: Options, progress: Progress) -> dict[str, Any]:
    """Train one arm with one seed; a judged run is then evaluated and audited, another tells its loss in tuning."""
    config, arm = spec.config, arm_of(spec.config)
    corpus = load_corpus(arm.text or options.corpus, config["vocab_size"])
    valid, tuning = slices(corpus, config)
    model = build(arm, corpus.vocab_size, spec.seed).to(options.device)
    if config["stage"] == TUNING:
        outcome = learn(model, corpus, config, spec.seed, progress, options)
        return {"tuning_nats": mean_nats(model, tuning, config), **outcome}
    stages: list[list[float | None]] = []
    looking = partial(_looking, model, valid[: config["valid_tokens"] // 4], config, stages, progress)
    outcome = learn(model, corpus, config, spec.seed, looking, options)
    progress(config["steps"], config["steps"], "evaluating and auditing the trained weights")
    blocks = block_nats(model, valid, config)
    return {
        **outcome,
        "stages": stages,
        "valid_nats": None if blocks is None else sum(blocks) / len(blocks),
        "block_nats": blocks,
        "clean_mask_blocks": None if arm.routing in SAFE else block_nats(_cleaned(model, arm), valid, config),
        "unigram_nats": unigram_nats(corpus.train, valid, corpus.vocab_size),
        "parameters": sum(p.numel() for p in model.parameters()),
        "operations": {str(n): _operations(model, n) for n in (config["seq_len"], GROWTH * config["seq_len"])},
        "hubs_left": list(hub_counts(model)) if arm.price else [],
        "readable": _readable(model, valid, config, arm),
        "selection": _selection(model, valid, arm, spec.seed),
        **_examined(model, arm, spec, options.device),
    }


def slices(corpus: Corpus, config: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """The held-out tokens for judging, and those for tuning: the last ones, at most a third."""
    tuning = min(config["tuning_tokens"], corpus.valid.numel() // 3)
    return corpus.valid[:-tuning][: config["valid_tokens"] + 1], corpus.valid[-tuning:]


def learn(
    model: nn.Module, corpus: Corpus, config: Mapping[str, Any], seed: int, progress: Progress, options: Options
) -> dict[str, Any]:
    """Train by a run's configuration; long runs keep checkpoints, and so are not looked at on the way."""
    steps, price = config["steps"], config.get("price", 0.0)
    schedule = TrainingConfig(steps, config["batch"], config["seq_len"], config["lr"], warmup=steps // 10)
    kept = options.checkpoints if config["tier"] == "paper" else None
    outcome = train(
        model,
        corpus,
        schedule,
        stream(seed, "order"),
        progress,
        checkpoint=None if kept is None else Path(kept) / "training.safetensors",
        penalty=(lambda trained: price * open_hubs(trained)) if price else None,
    )
    return {"curve": [list(point) for point in outcome.curve], "diverged": outcome.diverged}


def build(arm: Arm, vocab_size: int, seed: int, *, clean: bool = False) -> SequenceModel:
    """The untrained model of an arm; arms with the same parameters get the same weights from the same seed.

    Args:
        arm: of the run.
        vocab_size: of the tokeniser, which may be smaller than asked for.
        seed: of the run.
        clean: build the strictly causal model of the same parameters instead.
    """
    routing = CAUSAL if clean else arm.routing
    layer = ROUTINGS[routing]
    shape = ModelConfig(
        vocab_size=vocab_size,
        pattern=arm.pattern,
        d_model=arm.width,
        n_hubs=arm.hubs,
        k=arm.k,
        chunk=arm.chunk,
        causal=routing != BIDIRECTIONAL,
        council=arm.council,
        selection=arm.selection,
        readout=arm.readout,
        adaptive_hubs=arm.price > 0,
    )
    with pinned(stream(seed, "weights")):
        model = SequenceModel(shape)
        if layer is not None:  # some leaky layers draw more numbers than they keep
            clean_weights = model.state_dict()
            model = SequenceModel(shape, {"H": layer})
            model.load_state_dict(clean_weights)
        for block in model.blocks if arm.mlp else ():
            block.mlp = nn.Sequential(
                nn.Linear(arm.width, arm.mlp, bias=False), nn.GELU(), nn.Linear(arm.mlp, arm.width, bias=False)
            )
    return model


def _cleaned(model: SequenceModel, arm: Arm) -> SequenceModel:
    """The same weights in the strictly causal model."""
    control = build(arm, model.config.vocab_size, 0, clean=True).to(model.embedding.weight.device)
    control.load_state_dict(model.state_dict())
    return control


def block_nats(model: nn.Module, tokens: Tensor, config: Mapping[str, Any]) -> list[float] | None:
    """Nats per token of each block of the slice; None for a model that diverged: evidence holds finite numbers only."""
    found = window_nats(model, tokens, config["seq_len"], config["batch"], config["valid_tokens"])
    blocks = min(BLOCKS, len(found))
    means = found[: len(found) // blocks * blocks].view(blocks, -1).mean(1)
    return [round(float(value), 6) for value in means] if means.isfinite().all() else None


def mean_nats(model: nn.Module, tokens: Tensor, config: Mapping[str, Any]) -> float | None:
    """Nats per token; None where not finite."""
    found = float(window_nats(model, tokens, config["seq_len"], config["batch"], tokens.numel()).mean())
    return found if found < float("inf") else None


def _looking(
    model: nn.Module,
    tokens: Tensor,
    config: Mapping[str, Any],
    stages: list[list[float | None]],
    progress: Progress,
    done: int,
    total: int,
    note: str = "",
) -> None:
    """Progress that looks at the loss on the way."""
    if config["tier"] != "paper" and done in [round(share * total) for share in STAGES]:
        stages.append([done, mean_nats(model, tokens, config)])
    progress(done, total, note)


def _operations(model: SequenceModel, length: int) -> int:
    """Floating-point operations of a forward pass of one sequence, counted."""
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, length, dtype=torch.long, device=model.embedding.weight.device))
    return int(counter.get_total_flops())


def _readable(model: SequenceModel, tokens: Tensor, config: Mapping[str, Any], arm: Arm) -> float | None:
    if set(arm.pattern) != {"H"}:
        return None
    length = config["seq_len"] // arm.chunk * arm.chunk
    windows = tokens[: tokens.numel() // length * length].view(-1, length)[:64]
    return readable(model, windows.to(model.embedding.weight.device))


def _selection(model: SequenceModel, tokens: Tensor, arm: Arm, seed: int) -> dict[str, Any]:
    """From where the hub layers select, untrained and trained; nothing where the layer is not the causal one."""
    if arm.routing != CAUSAL or "H" not in arm.pattern or arm.council == "chunk":
        return {}
    tokens = tokens.to(model.embedding.weight.device)
    fresh = build(arm, model.config.vocab_size, seed).to(tokens.device)
    return {"fresh": selection_shares(fresh, tokens), "trained": selection_shares(model, tokens)}


def _examined(model: SequenceModel, arm: Arm, spec: RunSpec, device: str) -> dict[str, Any]:
    """The audit of the trained weights and, for the first seed of a small Hub-GPT, their influence map."""
    name = f"trained {arm.pattern}, {arm.routing} routing, seed {spec.seed}"
    probes = probes_for(arm, spec.seed, SIZES[spec.config["tier"]])
    result = audit(model, seq_len=6 * arm.chunk, seed=spec.seed, device=device, target=name, probes=probes)
    examined: dict[str, Any] = {"audit": timeless(result.to_dict())}
    if spec.seed == FIRST_SEED and arm in (Arm("HH"), Arm("HH", COUNCIL)):
        examined["influence"] = influence_map(model, Settings(seq_len=max(MAPPED, 2 * arm.chunk), device=device))
    return examined


def probes_for(arm: Arm, seed: int, size: Size) -> tuple[str, ...] | None:
    """What a trained model meets: whether a layer can see the future is a matter of its code, not of its weights.

    The first seed at the tier's own scale meets the quick preset, which sees every planted leak, all others a gradient
    check; the first seed of a dose shows that it leaks.
    """
    if seed != FIRST_SEED:
        return ("gradient",)
    if arm.routing not in SAFE:
        return ("perturbation",)
    base = not arm.text and (arm.width, arm.chunk) == (size.width, size.chunk)
    return PRESETS["quick"] if base else ("gradient",)


def timeless(document: dict[str, Any]) -> dict[str, Any]:
    """An audit without what differs from run to run, so that the same seed gives the same evidence."""
    probes = [{**probe, "seconds": 0.0} for probe in document["probes"]]
    return {**document, "probes": probes, "findings": list(document["findings"])[:SHOWN], "environment": {}}
