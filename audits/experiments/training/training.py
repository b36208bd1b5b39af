"""One training loop and one evaluation for every token model, so that two arms differ in the model alone.

A model maps tokens, int64 [B, N], to next-token logits [B, N, V]. The batches depend on the seed and the corpus and on
nothing else: two arms with the same seed see the same batches in the same order, which is what makes their difference a
paired one. Losses are nats per token.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from audits.evidence.experiment import Progress
from audits.experiments.training.checkpoint import CHECKPOINT_SECONDS, Checkpoint, TrainState, run_identity
from audits.experiments.training.corpus import Corpus
from audits.experiments.training.descent import descend
from audits.experiments.training.evaluation import TrainingError, cross_entropy, device_of, evaluate, mode, unigram_nats

__all__ = [
    "CurvePoint",
    "Divergence",
    "TrainingConfig",
    "TrainingError",
    "TrainingOutcome",
    "batches",
    "device_of",
    "evaluate",
    "mode",
    "train",
    "unigram_nats",
]

Penalty = Callable[[nn.Module], Tensor]  # of the model a scalar that is added to the loss
ABOVE_UNIGRAM = "final loss is above the unigram entropy"
FINAL_STEPS = 20  # a run's final loss is the mean over so many steps, because one batch's loss is noisy (our choice)


@dataclass(frozen=True)
class TrainingConfig:
    """How a model is trained, apart from the seed; all defaults are our choices for models of about 10^5 parameters.

    Attributes:
        steps: optimiser steps.
        batch: sequences in a step.
        seq_len: tokens in a sequence.
        lr: AdamW's peak learning rate.
        warmup: steps of linear rise before the cosine decay, below `steps`.
        final_lr: the share of `lr` that the decay ends at.
        weight_decay: applied to matrices, not to vectors (norms, biases) nor to what bears mamba's `_no_weight_decay`.
        clip: largest norm of all gradients together.
        curve_points: entries of the loss curve, each the mean over the steps since the one before.
        compiled: whether the model goes through torch.compile; None is on CUDA only (not verified there). On a CPU it
            does not pay in runs of minutes (docs/training.md). Compiled and plain runs differ in the last bits.
    """

    steps: int = 350
    batch: int = 16
    seq_len: int = 128
    lr: float = 4e-3
    warmup: int = 30
    final_lr: float = 0.1
    weight_decay: float = 0.1
    clip: float = 1.0
    curve_points: int = 50
    compiled: bool | None = None

    def __post_init__(self) -> None:
        positive = {"steps": self.steps, "batch": self.batch, "seq_len": self.seq_len, "lr": self.lr, "clip": self.clip}
        for name, value in (positive | {"curve_points": self.curve_points}).items():
            if not value > 0:
                raise TrainingError(f"{name} is {value}; it must be above 0")
        if not 0 <= self.warmup < self.steps:
            raise TrainingError(f"warmup is {self.warmup}; it must be at least 0 and below steps ({self.steps})")

    def rate(self, step: int) -> float:
        """The learning rate of a 0-based step: a linear rise, then half a cosine down to `final_lr`."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - 1 - self.warmup)
        return self.lr * (self.final_lr + (1 - self.final_lr) * (1 + math.cos(math.pi * done)) / 2)


class CurvePoint(NamedTuple):
    """Mean training loss over the steps up to and including `step` (1-based) since the point before."""

    step: int
    nats: float


class Divergence(NamedTuple):
    """How a run failed: what it met, and after which step (1-based)."""

    reason: str
    step: int


@dataclass(frozen=True)
class TrainingOutcome:
    """What training came to. `curve` holds finite losses only; a run that met another ended there.

    Attributes:
        curve: mean losses of stretches of steps.
        divergence: None for a run that converged. Otherwise a loss or gradient that is not finite, or a final loss
            above the unigram entropy: such a model knows less than the token counts do.
        seconds: spent in training, before a kill too where the run was resumed.
    """

    curve: tuple[CurvePoint, ...]
    divergence: Divergence | None
    seconds: float

    @property
    def diverged(self) -> bool:
        """Whether the run failed, in any of the ways of `divergence`."""
        return self.divergence is not None


def train(
    model: nn.Module,
    corpus: Corpus,
    config: TrainingConfig,
    seed: int,
    progress: Progress,
    *,
    checkpoint: Path | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    penalty: Penalty | None = None,
) -> TrainingOutcome:
    """Train in place, with bfloat16 autocast on CUDA; divergence is recorded, not raised.

    The seed also feeds dropout and the like. The global generators and each module's mode are left as they were.

    Args:
        model: int64 [B, N] to logits [B, N, V].
        corpus: its training part is trained on.
        config: how.
        seed: of batches and dropout; the caller draws the weights.
        progress: called after every step.
        checkpoint: this run's file. A run killed at any step goes on from there when it is called with the same
            arguments and a model with the same weights as at first, and ends bit for bit as if it had not been killed
            (on the CPU, with the same number of threads). The file is removed when training ends.
        checkpoint_seconds: between two writings of the file; 0 is after every step.
        penalty: of the model a scalar, added to the loss that is minimised; the curve holds the cross-entropy alone.
            A checkpoint knows it by its name only.

    Raises:
        CorpusError: the corpus is too short for one batch.
        TrainingError: there is nothing to train, or the penalty is not a scalar.
        CheckpointError: a checkpoint is wanted and safetensors is not installed.
    """
    corpus.require(config.seq_len, config.batch)
    run = _Run(model, config, penalty)
    device = device_of(model)
    file = None if checkpoint is None else Checkpoint(checkpoint, run.identity(corpus, seed), config.steps, progress)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), mode(model, training=True):
        torch.manual_seed(seed)
        divergence = _steps(run, corpus.train, seed, progress, file, checkpoint_seconds)
    if file is not None:
        file.remove()
    losses = run.standing.losses
    if divergence is None and _final(losses) > unigram_nats(corpus.train, corpus.valid, corpus.vocab_size):
        divergence = Divergence(ABOVE_UNIGRAM, len(losses))
    return TrainingOutcome(_curve(losses, config), divergence, run.standing.seconds)


def batches(tokens: Tensor, config: TrainingConfig, seed: int, done: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
    """For each step, inputs and next-token targets, both int64 [B, N], cut from 1-D tokens at random places.

    The first `done` steps are drawn and passed over, so that a resumed run sees what it would have seen.
    """
    generator = torch.Generator().manual_seed(seed)
    offsets = torch.arange(config.seq_len + 1)
    for step in range(config.steps):
        starts = torch.randint(tokens.numel() - config.seq_len, (config.batch, 1), generator=generator)
        if step < done:
            continue
        windows = tokens[starts + offsets]
        yield windows[:, :-1], windows[:, 1:]


class _Run:
    """One run's parts: the model as it is called, what is minimised, and what a checkpoint holds."""

    def __init__(self, model: nn.Module, config: TrainingConfig, penalty: Penalty | None) -> None:
        self.model, self.config, self.penalty = model, config, penalty
        self.device = device_of(model)
        self.compiled = self.device.type == "cuda" if config.compiled is None else config.compiled
        self.forward = torch.compile(model) if self.compiled else model
        self.standing = TrainState(model, _optimizer(model, config))

    def identity(self, corpus: Corpus, seed: int) -> dict[str, Any]:
        """What distinguishes this run from every other; JSON values."""
        return {
            "config": asdict(self.config),
            "compiled": self.compiled,
            "seed": seed,
            "corpus": [corpus.sha256, corpus.vocab_size],
            "penalty": None
            if self.penalty is None
            else getattr(self.penalty, "__qualname__", type(self.penalty).__name__),
            **run_identity(self.model),
        }

    def step(self, inputs: Tensor, targets: Tensor, rate: float) -> tuple[float, float]:
        """One update; the loss before it and the gradients' norm. It is skipped where the norm is not finite."""
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=self.device.type == "cuda"):
            logits = self.forward(inputs.to(self.device))
        loss = cross_entropy(logits, targets.to(self.device), "mean")
        minimised = loss + self._penalty() if self.penalty else loss
        norm = descend(self.standing.optimizer, minimised, rate=rate, clip=self.config.clip)
        return loss.item(), norm

    def _penalty(self) -> Tensor:
        assert self.penalty is not None
        value = self.penalty(self.model)
        if value.ndim:
            raise TrainingError(f"the penalty has shape {tuple(value.shape)}; it must be a scalar")
        return value


def _steps(
    run: _Run, tokens: Tensor, seed: int, progress: Progress, file: Checkpoint | None, every: float
) -> Divergence | None:
    """All steps that are not done yet; how the run failed, if a loss or a gradient is not finite."""
    config, standing = run.config, run.standing
    if file is not None:
        file.resume(standing)
    begun, before = time.perf_counter(), standing.seconds
    first = len(standing.losses)
    for step, (inputs, targets) in enumerate(batches(tokens, config, seed, first), first):
        loss, norm = run.step(inputs, targets, config.rate(step))
        standing.seconds = before + time.perf_counter() - begun
        if math.isfinite(loss):
            standing.losses.append(loss)
        if failed := _not_finite(loss, norm):
            progress(config.steps, config.steps, f"diverged at step {step + 1}")
            return Divergence(failed, step + 1)
        progress(step + 1, config.steps, f"loss {loss:.3f}")
        if file is not None:
            file.save_when_due(standing, every)
    return None


def _not_finite(loss: float, norm: float) -> str | None:
    """Which of a step's loss and gradient is not finite, and how; None if both are."""
    for name, value in (("loss", loss), ("gradient", norm)):
        if not math.isfinite(value):
            return f"{name} is {'NaN' if math.isnan(value) else 'infinite'}"
    return None


def _optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.AdamW:
    """AdamW over what can be trained; vectors (norms, biases) and what asks for it by mamba's mark are not decayed."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters:
        raise TrainingError("the model has no trainable parameter; nothing can be trained")
    groups = [
        {"params": [p for p in parameters if _decays(p)], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if not _decays(p)], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=config.lr, betas=(0.9, 0.95))


def _decays(parameter: nn.Parameter) -> bool:
    """Whether weight decay applies: not to a rate in a logarithm, which would drift to 1."""
    return parameter.ndim >= 2 and not getattr(parameter, "_no_weight_decay", False)


def _final(losses: list[float]) -> float:
    """The mean of the last losses: of `FINAL_STEPS`, or of the last tenth of a shorter run."""
    last = losses[-min(FINAL_STEPS, max(1, len(losses) // 10)) :]
    return sum(last) / len(last)


def _curve(losses: list[float], config: TrainingConfig) -> tuple[CurvePoint, ...]:
    """The losses in about `curve_points` stretches of equal length, the last one possibly shorter."""
    stretch = math.ceil(config.steps / config.curve_points)
    parts = [losses[at : at + stretch] for at in range(0, len(losses), stretch)]
    ends = [min(at + stretch, len(losses)) for at in range(0, len(losses), stretch)]
    return tuple(CurvePoint(end, sum(part) / len(part)) for end, part in zip(ends, parts, strict=True))
