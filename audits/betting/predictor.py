"""The online predictor: a trainable copy of the subject that predicts tokens drawn from a small alphabet.

Axes: B (rows), N (tokens), A (symbols of the alphabet), F (features of the subject's output).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from audits.subject.call_convention import CallConvention
from audits.subject.outputs import as_sequence
from audits.subject.prepare import prepare
from audits.subject.randomness import generator, pinned
from audits.subject.settings import Settings, SubjectError
from audits.subject.subject import Model


class OnlinePredictor(nn.Module):
    """A copy of the subject that maps symbols [B, N] to log-probabilities [B, N, A] of a symbol to come.

    What is added to the copy acts on each position separately, so it can transmit a leak but not create one: an
    embedding before a feature model, and a linear readout where the outputs are no logits over the vocabulary or cannot
    be trained. The readout starts at 0, at uniform predictions.
    """

    def __init__(
        self, copied: Any, convention: CallConvention, alphabet: Tensor, embedding: nn.Embedding | None = None
    ) -> None:
        super().__init__()
        self.subject, self.convention, self.embedding = copied, convention, embedding
        self.readout: nn.Linear | None = None
        self.alphabet: Tensor
        self.register_buffer("alphabet", alphabet, persistent=False)

    def forward(self, symbols: Tensor) -> Tensor:
        """Log-probabilities in float64, so that probabilities sum to 1 closely even where thousands are multiplied."""
        outputs = self.outputs(symbols)
        logits = outputs[..., self.alphabet] if self.readout is None else self.readout(outputs)
        return logits.double().log_softmax(-1)

    def outputs(self, symbols: Tensor) -> Tensor:
        """What the subject returns, [B, N, F]."""
        inputs = self.alphabet[symbols] if self.embedding is None else self.embedding(symbols)
        return as_sequence(self.convention(self.subject, inputs), symbols)


def make_predictor(model: Model, settings: Settings, symbols: int, freeze: Sequence[str] = ()) -> OnlinePredictor:
    """A predictor of A `symbols` from a copy of the model, on its device and in its dtype (or float32).

    The model is never called, only its copy is (a plain function has no copy and is called itself). Which token ids
    make up the alphabet of a token model is drawn from the seed. `freeze` are patterns (`*` and `?`) of parameter names
    that are not trained.

    Raises:
        SubjectError: it cannot be copied or called, or a pattern matches no parameter.
    """
    subject = prepare(model, replace(settings, dtype=settings.dtype or "float32"))
    if subject.module is not None and not subject.copied:
        raise SubjectError(
            "betting trains a copy, and the target cannot be copied: name a factory of a module that can be"
        )
    _freeze(subject.module, freeze)
    settings = subject.settings
    alphabet, embedding = _alphabet(settings, symbols), _embedding(settings, symbols)
    predictor = OnlinePredictor(subject.model, subject.convention, alphabet, embedding).to(settings.device)
    outputs = _dry_run(predictor, settings)
    logits = settings.input == "tokens" and outputs.shape[-1] == settings.vocab_size and outputs.requires_grad
    if not logits:
        predictor.readout = _readout(outputs, symbols)
    return predictor


def _freeze(module: nn.Module | None, patterns: Sequence[str]) -> None:
    """Train every parameter of floating point but the frozen ones."""
    named = dict(module.named_parameters()) if module is not None else {}
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in named):
            some = ", ".join(list(named)[:6]) or "none"
            raise SubjectError(f"freeze {pattern!r} matches no parameter; the first names are: {some}")
    for name, parameter in named.items():
        frozen = any(fnmatchcase(name, pattern) for pattern in patterns)
        parameter.requires_grad_(parameter.is_floating_point() and not frozen)


def _alphabet(settings: Settings, symbols: int) -> Tensor:
    """The token id of each symbol, int64 [A], in rising order."""
    drawn = torch.randperm(settings.vocab_size or symbols, generator=generator(settings.seed, "alphabet"))
    return drawn[:symbols].sort().values


def _embedding(settings: Settings, symbols: int) -> nn.Embedding | None:
    """Features of order one for each symbol, drawn from the seed; token models need none."""
    if settings.input == "tokens":
        return None
    gen = generator(settings.seed, "embedding")
    drawn = torch.randn(symbols, settings.width or 1, generator=gen, dtype=torch.float64)
    layer = nn.Embedding(symbols, settings.width or 1, dtype=getattr(torch, settings.dtype or "float32"), device="meta")
    layer.weight = nn.Parameter(drawn.to(layer.weight.dtype))
    return layer


def _readout(outputs: Tensor, symbols: int) -> nn.Linear:
    """A linear map to logits that starts at 0."""
    layer = nn.Linear(outputs.shape[-1], symbols, device=outputs.device, dtype=outputs.dtype)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def _dry_run(predictor: OnlinePredictor, settings: Settings) -> Tensor:
    """Outputs on symbols that are not bet on: shows that it runs at this batch size, and whether it can be trained."""
    shape = (settings.batch, settings.seq_len)
    drawn = torch.randint(len(predictor.alphabet), shape, generator=generator(settings.seed, "dry run"))
    with pinned(settings.seed), one_line("the target"):
        return predictor.eval().outputs(drawn.to(settings.device))


@contextmanager
def one_line(what: str) -> Iterator[None]:
    """Turn whatever the subject raises into a SubjectError of one line; bugs of ours would raise in tests as well."""
    try:
        yield
    except SubjectError:
        raise
    except Exception as problem:
        first = next(iter(str(problem).strip().splitlines()), "")[:300]
        raise SubjectError(f"{what} raised {type(problem).__name__}: {first}") from problem
