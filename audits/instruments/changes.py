"""The ways in which a sequence is changed: suffixes, single positions, sweeps of the vocabulary, several magnitudes."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from audits.instruments.differences import Changes
from audits.subject.settings import Settings
from audits.subject.subject import Subject

MAGNITUDES = (1e-3, 1.0, 1e3)  # of feature changes: small enough for smooth paths, large enough to flip any ranking
SWEPT = 384  # suffixes in a sweep, each after a prefix of its own
REPEATS = 3  # prefixes for each token id at least; of a large vocabulary only a sample is swept


def count_changes(settings: Settings) -> int:
    """Rows of `singles` and `suffixes` together."""
    kinds = 2 * len(MAGNITUDES) + 1 if settings.input == "features" else 4
    return kinds * (settings.seq_len - 1)


def suffixes(subject: Subject, base: Tensor, gen: torch.Generator) -> Changes:
    """Every cut, with everything from it on replaced: by new draws, one repeated token, features of each magnitude."""
    length = base.shape[1]
    cuts = torch.arange(1, length)
    fresh = subject.draw(len(cuts), length, gen)
    if subject.settings.input == "features":
        kinds = [fresh * magnitude for magnitude in MAGNITUDES] + [base + MAGNITUDES[0] * fresh]
    else:
        kinds = [fresh, subject.draw(len(cuts), 1, gen).expand(-1, length)]
    return Changes.join([replace_from(base, kind, cuts) for kind in kinds])


def singles(subject: Subject, base: Tensor, gen: torch.Generator) -> Changes:
    """Every position but the first changed by itself: to another token, or by features of each magnitude."""
    length = base.shape[1]
    cuts = torch.arange(1, length)
    fresh = subject.draw(len(cuts), length, gen)
    if subject.settings.input == "features":
        kinds = [base + fresh * magnitude for magnitude in MAGNITUDES]
    else:
        vocabulary = subject.settings.vocab_size or 2
        # Shifting by 1 .. V-1 always gives another token.
        shift = torch.randint(1, vocabulary, (len(cuts), length), generator=gen)
        kinds = [(base + shift) % vocabulary, (base + 1) % vocabulary]
    return Changes.join([_replace_at(base, kind, cuts) for kind in kinds])


def sweep(subject: Subject, gen: torch.Generator) -> Changes:
    """Suffixes after many prefixes: some leaks occur only after some prefixes, others only with some tokens.

    A suffix is one repeated token, for every token id or a sample (rare tokens count), or features of any magnitude.
    """
    length, vocabulary = subject.settings.seq_len, subject.settings.vocab_size
    if subject.settings.input == "features" or vocabulary is None:
        magnitude = torch.tensor(MAGNITUDES, dtype=torch.float64).repeat(SWEPT // len(MAGNITUDES))
        suffix = subject.draw(SWEPT, length, gen) * magnitude[:, None, None]
    else:
        ids = torch.randperm(vocabulary, generator=gen)[: SWEPT // REPEATS]
        suffix = ids.repeat(-(-SWEPT // len(ids)))[:SWEPT, None].expand(-1, length)
    cuts = torch.randint(1, length, (SWEPT,), generator=gen)
    bases = subject.draw(SWEPT, length, gen)
    return replace(replace_from(bases, suffix, cuts), bases=bases)


def replace_from(base: Tensor, other: Tensor, cuts: Tensor) -> Changes:
    """Rows that follow `base` before their cut and `other` from it on."""
    before = torch.arange(base.shape[1])[None, :] < cuts[:, None]
    return Changes(_mix(before, base, other), cuts)


def _replace_at(base: Tensor, other: Tensor, cuts: Tensor) -> Changes:
    """Rows that follow `other` at their cut and `base` everywhere else."""
    others = torch.arange(base.shape[1])[None, :] != cuts[:, None]
    return Changes(_mix(others, base, other), cuts)


def _mix(where: Tensor, base: Tensor, other: Tensor) -> Tensor:
    return torch.where(where[..., None] if base.ndim == 3 else where, base, other)
