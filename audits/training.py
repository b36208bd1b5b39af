"""One training loop and one evaluation for every token model, so that two arms differ in the model alone.

A model maps tokens, int64 [B, N], to next-token logits [B, N, V]. The batches depend on the seed and the corpus and on
nothing else: two arms with the same seed see the same batches in the same order, which is what makes their difference a
paired one. Losses are nats per token.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audits.corpus import Corpus
from audits.experiment import Progress

FINAL_STEPS = 20  # a run's final loss is the mean over so many steps, because one batch's loss is noisy (our choice)


class TrainingError(Exception):
    """Training or evaluation was asked for what cannot be; the message says what is wrong and how to mend it."""


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
        weight_decay: applied to matrices, not to vectors (norms, biases).
        clip: largest norm of all gradients together.
        curve_points: entries of the loss curve, each the mean over the steps since the one before.
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


@dataclass(frozen=True)
class TrainingOutcome:
    """What training came to. `curve` holds finite losses only; a run that met another ended there.

    `diverged` is True after a loss or gradient that is not finite, or where the final loss is above the unigram
    entropy: such a model knows less than the token counts do.
    """

    curve: tuple[CurvePoint, ...]
    diverged: bool
    seconds: float


def train(model: nn.Module, corpus: Corpus, config: TrainingConfig, seed: int, progress: Progress) -> TrainingOutcome:
    """Train in place, with bfloat16 autocast on CUDA; divergence is recorded, not raised.

    The seed also feeds dropout and the like. The global generators and each module's mode are left as they were.

    Raises:
        CorpusError: the corpus is too short for one batch.
    """
    corpus.require(config.seq_len, config.batch)
    start = time.perf_counter()
    device = device_of(model)
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda), mode(model, training=True):
        torch.manual_seed(seed)
        losses, finite = _steps(model, corpus.train, config, seed, progress)
    diverged = not finite or _final(losses) > unigram_nats(corpus.train, corpus.valid, corpus.vocab_size)
    return TrainingOutcome(_curve(losses, config), diverged, time.perf_counter() - start)


def batches(tokens: Tensor, config: TrainingConfig, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """For each step, inputs and next-token targets, both int64 [B, N], cut from 1-D tokens at random places."""
    generator = torch.Generator().manual_seed(seed)
    offsets = torch.arange(config.seq_len + 1)
    for _ in range(config.steps):
        starts = torch.randint(tokens.numel() - config.seq_len, (config.batch, 1), generator=generator)
        windows = tokens[starts + offsets]
        yield windows[:, :-1], windows[:, 1:]


def _steps(
    model: nn.Module, tokens: Tensor, config: TrainingConfig, seed: int, progress: Progress
) -> tuple[list[float], bool]:
    """The finite losses, one a step, and whether all were finite."""
    optimizer = _optimizer(model, config)
    losses: list[float] = []
    for step, (inputs, targets) in enumerate(batches(tokens, config, seed)):
        for group in optimizer.param_groups:
            group["lr"] = config.rate(step)
        loss, norm = _step(model, optimizer, inputs, targets, config.clip)
        if math.isfinite(loss):
            losses.append(loss)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            progress(config.steps, config.steps, f"diverged at step {step + 1}")
            return losses, False
        progress(step + 1, config.steps, f"loss {loss:.3f}")
    return losses, True


def _optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.AdamW:
    """AdamW over what can be trained; vectors (norms, biases) are not decayed."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters:
        raise TrainingError("the model has no trainable parameter; nothing can be trained")
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=config.lr, betas=(0.9, 0.95))


def _step(
    model: nn.Module, optimizer: torch.optim.AdamW, inputs: Tensor, targets: Tensor, clip: float
) -> tuple[float, float]:
    """One update; the loss before it and the gradients' norm. The update is skipped where the norm is not finite."""
    device = device_of(model)
    with torch.autocast("cuda", dtype=torch.bfloat16, enabled=device.type == "cuda"):
        logits = model(inputs.to(device))
    loss = _cross_entropy(logits, targets.to(device), "mean")
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    norm = float(nn.utils.clip_grad_norm_(model.parameters(), clip))
    if math.isfinite(norm):
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss.item(), norm


def _cross_entropy(logits: Tensor, targets: Tensor, reduction: str) -> Tensor:
    """Nats of targets [B, N] under logits [B, N, V], in float32 or the logits' own wider type."""
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return F.cross_entropy(wide.flatten(0, 1), targets.flatten(), reduction=reduction)


def evaluate(model: nn.Module, tokens: Tensor, seq_len: int, batch: int, max_tokens: int | None = None) -> float:
    """Nats per token over fixed windows that do not overlap, in eval mode; not finite where the model's logits are not.

    No autocast here: differences of .01 nats must not drown in bfloat16 rounding.

    Args:
        model: int64 [B, N] to [B, N, V]; its modes are restored.
        tokens: int64 [tokens].
        seq_len: window length.
        batch: windows at a time; the last batch may be smaller.
        max_tokens: stop before more are predicted, but use at least one window; None uses all windows.

    Raises:
        TrainingError: the tokens do not fill one window.
    """
    windows = (tokens.numel() - 1) // seq_len
    if windows < 1:
        raise TrainingError(f"{tokens.numel()} tokens do not fill a window of {seq_len}; give a longer text")
    if max_tokens is not None:
        windows = min(windows, max(1, max_tokens // seq_len))
    used = windows * seq_len
    inputs, targets = tokens[:used].view(windows, seq_len), tokens[1 : used + 1].view(windows, seq_len)
    device, total = device_of(model), 0.0
    with mode(model, training=False), torch.no_grad():
        for at in range(0, windows, batch):
            logits = model(inputs[at : at + batch].to(device))
            total += _cross_entropy(logits, targets[at : at + batch].to(device), "sum").item()
    return total / used


def unigram_nats(train: Tensor, valid: Tensor, vocab_size: int) -> float:
    """Nats per token of the validation part under the training part's token counts, each plus one.

    Args:
        train: int64 [tokens], what is counted.
        valid: int64 [tokens], what is predicted.
        vocab_size: token values are below it.
    """
    counts = torch.bincount(train, minlength=vocab_size).double() + 1
    expected = torch.bincount(valid, minlength=vocab_size).double()
    return float(-(expected * (counts / counts.sum()).log()).sum() / valid.numel())


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


def device_of(model: nn.Module) -> torch.device:
    """Where the model's parameters are; the CPU for a model without any."""
    parameter = next(model.parameters(), None)
    return torch.device("cpu") if parameter is None else parameter.device


@contextlib.contextmanager
def mode(model: nn.Module, *, training: bool) -> Iterator[None]:
    """Training or eval mode for all modules, each put back to its own mode afterwards."""
    before = {module: module.training for module in model.modules()}
    model.train(training)
    try:
        yield
    finally:
        for module, was in before.items():
            module.training = was
