"""Weights that are all zero switch their paths off: a copy in which they are not shows what training will enable."""

from __future__ import annotations

import torch

from audits.subject.copying import deep_copy
from audits.subject.prepare import prepare
from audits.subject.randomness import generator
from audits.subject.subject import Subject

SIZE = 0.02  # standard deviation of the new values: that of common initialisations


def zero_initialized(subject: Subject) -> tuple[str, ...]:
    """Names of trainable weights and gates that are all zero, as zero-initialised output projections are.

    Not those called `bias`: they shift a sum and switch nothing off.
    """
    if subject.module is None:
        return ()
    named = dict(subject.module.named_parameters())
    return tuple(n for n in subject.trainable if n.rpartition(".")[2] != "bias" and not named[n].any())


@torch.no_grad()
def reinit_zero_weights(subject: Subject, names: tuple[str, ...]) -> Subject | None:
    """The subject with small random values in the named weights; None if it does not run so."""
    subject.restore()  # what a call left on the model may not be copied
    model = deep_copy(subject.model)
    if model is None:
        return None
    gen = generator(subject.settings.seed, "waking")  # the name is part of the seed
    named = dict(model.named_parameters())
    for weight in (named[name] for name in names):
        weight.copy_(SIZE * torch.randn(weight.shape, generator=gen, dtype=torch.float64))
    try:
        return prepare(model, subject.settings, subject.clock)
    except Exception:
        return None
