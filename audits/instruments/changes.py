"""The ways in which a sequence is changed: suffixes, single positions, sweeps of the vocabulary, several magnitudes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from audits.instruments.differences import Changes
from audits.instruments.sampling import few, is_traced, sample
from audits.subject.subject import Subject

MAGNITUDES = (1e-3, 1.0, 1e3)  # of feature changes: small enough for smooth paths, large enough to flip any ranking
SWEPT = 384  # suffixes in a sweep, each after a prefix of its own
MAX_TRIGGERS = 8  # constants of a model that are tried as tokens, and as counts of them
REPEATS = 3  # prefixes for each token id at least; of a large vocabulary only a sample is swept


def suffixes(subject: Subject, base: Tensor, gen: torch.Generator, cuts: Tensor | None = None) -> Changes:
    """Everything from a cut on replaced, at every cut or the given ones: by new draws, one token, each magnitude."""
    length = base.shape[1]
    cuts = torch.arange(1, length) if cuts is None else cuts
    fresh = subject.draw(len(cuts), length, gen)
    if subject.settings.input == "features":
        kinds = [fresh * magnitude for magnitude in MAGNITUDES] + [base + MAGNITUDES[0] * fresh]
    else:
        kinds = [fresh, subject.draw(len(cuts), 1, gen).expand(-1, length)]
    return Changes.join([replace_from(base, kind, cuts) for kind in kinds])


def singles(subject: Subject, base: Tensor, gen: torch.Generator, cuts: Tensor | None = None) -> Changes:
    """A position changed by itself, each but the first or the given ones: another token, or each magnitude."""
    length = base.shape[1]
    cuts = torch.arange(1, length) if cuts is None else cuts
    fresh = subject.draw(len(cuts), length, gen)
    if subject.settings.input == "features":
        kinds = [base + fresh * magnitude for magnitude in MAGNITUDES]
    else:
        vocabulary = subject.settings.vocab_size or 2
        # Shifting by 1 .. V-1 always gives another token.
        shift = torch.randint(1, vocabulary, (len(cuts), length), generator=gen)
        kinds = [(base + shift) % vocabulary, (base + 1) % vocabulary]
    return Changes.join([replace_at(base, kind, cuts) for kind in kinds])


def plans(subject: Subject, base: Tensor, gen: torch.Generator, *, training: bool = False) -> tuple[Changes, Changes]:
    """Every position changed by itself, and every suffix: few if the trace is complete, fewer if rows are dear."""
    alone, onward, is_dear = _tried(subject, training=training)
    both = singles(subject, base, gen, alone), suffixes(subject, base, gen, onward)
    return (_one_kind_each(both[0], len(alone)), _one_kind_each(both[1], len(onward))) if is_dear else both


def count(subject: Subject, *, training: bool = False) -> int:
    """Rows of both."""
    alone, onward, is_dear = _tried(subject, training=training)
    if is_dear:
        return len(alone) + len(onward)
    return len(alone) * (2 * len(MAGNITUDES) + 1 if subject.settings.input == "features" else 4)


def _tried(subject: Subject, *, training: bool) -> tuple[Tensor, Tensor, bool]:
    """Positions that are changed, cuts, and whether each gets one kind of change only."""
    length = subject.settings.seq_len
    cuts = sample(subject, torch.arange(1, length), training=training)
    is_dear = subject.is_dear and len(cuts) < length - 1
    return (cuts[::2], cuts[1::2], True) if is_dear else (cuts, cuts, False)


def everywhere(subject: Subject, base: Tensor, gen: torch.Generator, *, training: bool = False) -> Changes:
    """Every position and every suffix changed, or a few of them (see `plans`)."""
    return Changes.join([*plans(subject, base, gen, training=training)])


def some(subject: Subject, base: Tensor, gen: torch.Generator, rows: int) -> Changes:
    """So many positions or suffixes, at random, changed."""
    cuts = torch.randperm(base.shape[1] - 1, generator=gen)[:rows] + 1
    return _one_kind_each(Changes.join([each(subject, base, gen, cuts) for each in (singles, suffixes)]), len(cuts))


def _one_kind_each(plan: Changes, cuts: int) -> Changes:
    """Of several kinds of change at the same cuts, one kind at each."""
    cut, kinds = torch.arange(cuts), len(plan.cuts) // cuts
    return plan.rows(cut % kinds * cuts + cut)


def sweep(subject: Subject, gen: torch.Generator) -> Changes:
    """Suffixes after many prefixes: some leaks occur only after some prefixes, others only with some tokens.

    A suffix is one repeated token, for every token id or a sample (rare tokens count), or features of any magnitude.
    """
    length, vocabulary, rows = subject.settings.seq_len, subject.settings.vocab_size, swept(subject)
    if subject.settings.input == "features" or vocabulary is None:
        magnitude = torch.tensor(MAGNITUDES, dtype=torch.float64).repeat(-(-rows // len(MAGNITUDES)))[:rows]
        suffix = subject.draw(rows, length, gen) * magnitude[:, None, None]
    else:
        drawn = torch.randperm(vocabulary, generator=gen)
        special = torch.tensor(special_ids(subject), dtype=torch.int64)
        ids = torch.cat([special, drawn[~torch.isin(drawn, special)]])[: max(1, rows // REPEATS)]
        suffix = ids.repeat(-(-rows // len(ids)))[:rows, None].expand(-1, length)
    cuts = torch.randint(1, length, (rows,), generator=gen)
    bases = subject.draw(rows, length, gen)
    return replace(replace_from(bases, suffix, cuts), bases=bases)


def swept(subject: Subject) -> int:
    """Rows of a sweep: fewer where the trace is complete."""
    if not is_traced(subject):
        return SWEPT
    return few(subject) if subject.is_dear else SWEPT // 6


def stirring(subject: Subject, base: Tensor, cut: int, gen: torch.Generator) -> Changes:
    """Two suffixes from a cut on, after each of six prefixes: three of one token, whose extremes later ones exceed."""
    length = base.shape[1]
    prefixes = subject.draw(6, length, gen)
    prefixes[:3] = prefixes[:3, :1]
    cuts = torch.full((6,), cut)
    one, two = (replace_from(prefixes, subject.draw(6, length, gen), cuts) for _ in range(2))
    return replace(two, bases=one.inputs)


def turning(subject: Subject, gen: torch.Generator) -> Changes:
    """Early and late suffixes that turn common decisions over: new draws, and one token throughout."""
    length = subject.settings.seq_len
    cuts = torch.tensor(sorted({1, max(1, length // 4), max(1, length // 2), length - 1}))
    kinds = [subject.draw(len(cuts), length, gen), subject.draw(len(cuts), 1, gen)]
    fresh = torch.cat([kind.expand(len(cuts), length, *kind.shape[2:]) for kind in kinds])
    bases = subject.draw(len(fresh), length, gen)
    return replace(replace_from(bases, fresh, cuts.repeat(len(kinds))), bases=bases)


def triggers(subject: Subject, numbers: Sequence[int | float], gen: torch.Generator) -> Changes | None:
    """Suffixes of the tokens that a model compares with: each alone, repeated, as often as a number says, in order.

    Each row has a base of its own, without its token; None where no number is a token.
    """
    length, vocabulary = subject.settings.seq_len, subject.settings.vocab_size or 0
    ids = [int(n) for n in numbers if n == int(n) and 0 <= n < vocabulary][:MAX_TRIGGERS]
    counts = [int(n) for n in numbers if n == int(n) and 1 < n <= length // 2][:MAX_TRIGGERS]
    if not ids or subject.settings.input == "features":
        return None
    rows: list[tuple[list[int], int]] = []  # tokens, and where they begin
    for token in ids:
        rows += [([token] * count, length // 2) for count in dict.fromkeys((1, *counts, length // 2))]
        rows.append(([token] * 2, length // 2 - 1))  # one after another
    rows += [(ids, length // 2 - n) for n in range(min(len(ids), length // 2))]
    bases = subject.draw(len(rows), length, gen)
    inputs = bases.clone()
    for row, (tokens, start) in enumerate(rows):
        if len(set(tokens)) == 1:
            bases[row][bases[row] == tokens[0]] = (tokens[0] + 1) % vocabulary
        inputs[row] = bases[row]
        kept = tokens[: length - start]
        inputs[row, start : start + len(kept)] = torch.tensor(kept)
        bases[row, : length // 2] = inputs[row, : length // 2]
    return Changes(inputs, torch.full((len(rows),), length // 2), bases)


def special_ids(subject: Subject) -> tuple[int, ...]:
    """Those token ids of the vocabulary that a model's configuration names (`pad_token_id`, `image_token_index`)."""
    config = getattr(subject.original, "config", None)
    named = (value for name, value in (getattr(config, "__dict__", {})).items() if "_token_i" in name)
    flat = (n for value in named for n in (value if isinstance(value, (list, tuple)) else (value,)))
    return tuple(dict.fromkeys(n for n in flat if type(n) is int and 0 <= n < (subject.settings.vocab_size or 0)))


def replace_from(base: Tensor, other: Tensor, cuts: Tensor) -> Changes:
    """Rows that follow `base` before their cut and `other` from it on."""
    return Changes(mix(torch.arange(base.shape[1]) < cuts[:, None], base, other), cuts)


def replace_at(base: Tensor, other: Tensor, cuts: Tensor) -> Changes:
    """Rows that follow `other` at their cut and `base` everywhere else."""
    return Changes(mix(torch.arange(base.shape[1]) != cuts[:, None], base, other), cuts)


def mix(where: Tensor, base: Tensor, other: Tensor) -> Tensor:
    """Rows that follow `base` where a condition [R, N] holds, `other` elsewhere."""
    return torch.where(where[..., None] if base.ndim == 3 else where, base, other)
