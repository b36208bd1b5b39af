"""One evaluation for every token model, and what training and evaluation share: the loss, the device, the mode."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hubrouter.shapes import Float


class TrainingError(Exception):
    """Training or evaluation was asked for what cannot be; the message says what is wrong and how to mend it."""


def evaluate(model: nn.Module, tokens: Tensor, seq_len: int, batch: int, max_tokens: int | None = None) -> float:
    """The mean of `window_nats`, which see there."""
    return float(window_nats(model, tokens, seq_len, batch, max_tokens).mean())


def window_nats(
    model: nn.Module, tokens: Tensor, seq_len: int, batch: int, max_tokens: int | None = None
) -> Float[Tensor, " windows"]:
    """Nats per token of fixed windows that do not overlap, in eval mode; not finite where the model's logits are not.

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
    used, device = windows * seq_len, device_of(model)
    pairs = zip(
        tokens[:used].view(-1, seq_len).split(batch), tokens[1 : used + 1].view(-1, seq_len).split(batch), strict=True
    )
    with mode(model, training=False), torch.no_grad():
        found = [
            cross_entropy(model(x.to(device)), y.to(device), "none").view(y.shape).double().mean(1) for x, y in pairs
        ]
    return torch.cat(found).cpu()


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


def cross_entropy(logits: Tensor, targets: Tensor, reduction: str) -> Tensor:
    """Nats of targets [B, N] under logits [B, N, V], in float32 or the logits' own wider type."""
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return F.cross_entropy(wide.flatten(0, 1), targets.flatten(), reduction=reduction)


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
