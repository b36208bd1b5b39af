"""Copies with other weights: all-zero ones switch paths off that training will enable; others may only happen to."""

from __future__ import annotations

import torch

from audits.subject.copying import deep_copy
from audits.subject.prepare import prepare
from audits.subject.randomness import generator
from audits.subject.subject import Subject

SIZE = 0.02  # standard deviation of the new values: that of common initialisations


def zero_initialized(subject: Subject) -> tuple[str, ...]:
    """Names of trainable weights and gates that are all zero, as zero-initialised output projections are.

    Not those called `bias`, `in_proj_bias`, `bias_hh_l0` and the like: they shift a sum and switch nothing off.
    """
    if subject.module is None:
        return ()
    named = dict(subject.module.named_parameters())
    return tuple(n for n in subject.trainable if "bias" not in n.rpartition(".")[2].split("_") and not named[n].any())


def reinit_zero_weights(subject: Subject, names: tuple[str, ...]) -> Subject | None:
    """The subject with small random values in the named weights; None if it does not run so."""
    return _with_weights(subject, dict.fromkeys(names, SIZE), "waking")  # the word is part of the seed


def redraw_weights(subject: Subject, factor: float) -> Subject | None:
    """The subject with all trainable weights drawn anew, at a factor of their size; None if it does not run so."""
    named = dict(subject.module.named_parameters()) if subject.module is not None else {}
    sizes = {name: factor * float(named[name].detach().square().mean().sqrt()) for name in subject.trainable}
    return _with_weights(subject, sizes, "redrawn")


@torch.no_grad()
def _with_weights(subject: Subject, sizes: dict[str, float], purpose: str) -> Subject | None:
    """The subject with normal values of these standard deviations in the named weights."""
    subject.restore()  # what a call left on the model may not be copied
    model = deep_copy(subject.model) if subject.module is not None else None
    if model is None:
        return None
    gen = generator(subject.settings.seed, purpose)
    named = dict(model.named_parameters())
    for name, size in sizes.items():
        named[name].copy_(size * torch.randn(named[name].shape, generator=gen, dtype=torch.float64))
    try:
        return prepare(model, subject.settings, subject.clock)
    except Exception:
        return None
