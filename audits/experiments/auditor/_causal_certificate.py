"""causal-certificate, a published checker, applied to any subject of ours the way its documentation asks.

It differentiates a function of floats at every cut of the sequence, and one row's outputs by the other rows. A token
model is given to it from its embeddings on. It is imported only when it is used: the extra `[peers]` installs it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from audits.subject.embedding import EmbeddingTap
from audits.subject.outputs import as_sequence
from audits.subject.randomness import generator
from audits.subject.settings import Settings

PACKAGE = "causal-certificate"
ROWS = 2  # it compares rows where there are at least two


@dataclass(frozen=True)
class Certificate:
    """Its answer: PASS, LEAK, or CANNOT_RUN with the reason."""

    verdict: str
    why: str = ""


def installed() -> bool:
    """Whether it can be imported here."""
    return find_spec("causal_certificate") is not None


def release() -> str:
    """Its name and version."""
    return f"{PACKAGE} {version(PACKAGE)}"


def certificate(model: nn.Module, settings: Settings) -> Certificate:
    """Its verdict on the model in evaluation mode and float64, exhaustive cuts, defaults otherwise."""
    try:
        report = certify(model, settings)
    except Exception as problem:
        first = next(iter(str(problem).strip().splitlines()), "")
        return Certificate("CANNOT_RUN", f"{type(problem).__name__}: {first[:200]}")
    return Certificate("PASS" if report.ok else "LEAK")


def certify(model: nn.Module, settings: Settings) -> Any:
    """Its report on the model, which is put into evaluation mode and float64.

    Raises:
        ValueError: no embedding of a token model was found, so there is nothing to differentiate.
    """
    from causal_certificate import certify as exhaustive

    function, x = differentiable(model.double().eval(), settings)
    return exhaustive(function, x)


def differentiable(model: nn.Module, settings: Settings) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """The model as a function of floats [B, N, D], and a point to differentiate it at."""
    gen = generator(settings.seed, "base")
    if settings.input == "features":
        x = torch.randn(ROWS, settings.seq_len, settings.width or 1, generator=gen, dtype=torch.float64)
        return (lambda given: as_sequence(model(given), given)), x
    tokens = torch.randint(settings.vocab_size or 2, (ROWS, settings.seq_len), generator=gen)
    looked_up: list[Tensor] = []

    def noted(rows: Tensor) -> Tensor:
        looked_up.append(rows)
        return rows

    with torch.no_grad(), EmbeddingTap(tokens, noted):
        model(tokens)
    if not looked_up:
        raise ValueError("no embedding of the tokens was found")
    base = looked_up[0].double()

    def from_embeddings(given: Tensor) -> Tensor:
        with EmbeddingTap(tokens, lambda rows: given if rows.shape == given.shape else rows):
            return as_sequence(model(tokens), tokens)

    return from_embeddings, base
