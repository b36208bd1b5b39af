"""From a model to a subject that is ready to be probed: dtype, batch size, vocabulary, copies in other dtypes."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from functools import partial

import torch
from torch import nn

from audits.formatting import first_line
from audits.subject.feeding import feeding_of
from audits.subject.force_float64 import force_float64, spoof_dtype
from audits.subject.operations import CoarseResults, operations
from audits.subject.packing import WORDS
from audits.subject.progress import Pace
from audits.subject.randomness import generator
from audits.subject.settings import Settings, SubjectError
from audits.subject.subject import Mode, Model, Subject, own_dtype

BATCHES = 32  # that a budget should leave time for: fewer rows at a time rather than fewer batches; our choice
MAX_BATCH_SLOWDOWN = 1.5  # twice the rows at this much of the time are a gain that is worth it; our choice
NEEDS_GPU = "it seems to need a GPU: run it where there is one, with --device cuda"
HINTS = {  # what to do about an error, by what it says; the last one fits all
    "cuda": NEEDS_GPU,
    "nvidia": NEEDS_GPU,
    "meta tensor": "weights on the meta device hold no values: load or initialise them",
    "uninitialized parameter": "lazy modules have no weights yet: name a factory that calls the model once",
    "": "check --input, --vocab-size, --width, --seq-len, --dtype and --device",
}


def prepare(model: Model, settings: Settings, pace: Pace | None = None) -> Subject:
    """A subject ready to be probed.

    Raises:
        SubjectError: it cannot be called with these settings.
        OutOfTime: the budget of the pace is spent.
    """
    settings.check()
    if not callable(model):
        raise SubjectError(f"the target is a {type(model).__name__}, not a module or callable")
    if isinstance(model, type):
        raise SubjectError(f"the target is the class {model.__name__}: give an instance of it")
    _check_arguments(model, settings)
    settings = _with_vocabulary(model, settings)
    subject = _first_that_runs(model, settings, pace or Pace())
    with subject.borrowed():
        settings = subject.settings = _with_batch(subject)
        subject.internal = _internal_precision(subject)
    if subject.dtype == torch.float64:
        subject.lower = with_dtype(subject, torch.float32)
    if subject.internal != torch.float64:
        subject.finer = float64_reference(subject)
    return subject


def _check_arguments(model: Model, settings: Settings) -> None:
    """Raise SubjectError where the model wants what nobody can guess, or does not take what was insisted on."""
    unknown = [name for name in settings.insisted if name not in WORDS]
    if unknown:
        raise SubjectError(f"documents={settings.documents!r} must be made of {', '.join(WORDS)}, separated by commas")
    feeding = feeding_of(model, settings.input)
    if feeding.unknown is not None:
        raise SubjectError(
            f"the target requires the argument {feeding.unknown!r} beside its input: name a module that wraps it and "
            f"whose forward(self, x) returns self.model(x, {feeding.unknown}=...)"
        )
    refused = [name for name in settings.insisted if not feeding.accepts(name)]
    if refused:
        taken = [name for name in WORDS if name in feeding.named]
        raise SubjectError(
            f"documents={settings.documents!r}: the target takes no argument {', '.join(refused)}; "
            f"of those for documents it takes {', '.join(taken) or 'none'}"
        )


def with_dtype(subject: Subject, dtype: torch.dtype | None, *modes: Mode) -> Subject | None:
    """The subject computed in another dtype (None: its own), under modes; None where it does not run so.

    What it returns has neither a `lower` nor a `finer` one.
    """
    model = subject.origin
    if not isinstance(model, nn.Module) and subject.settings.input == "tokens":
        return None
    try:
        other = Subject(model, subject.settings, dtype, subject.pace, modes)
        with other.borrowed():
            other.run(other.base())
            other.internal = _internal_precision(other)
    except Exception:
        return None
    usable = other.copied or other.module is None
    return other if usable and (other.internal == torch.float64 or dtype != torch.float64) else None


def float64_reference(subject: Subject) -> Subject | None:
    """The subject in float64: on the path of its own dtype if that can be had, else on whatever path float64 takes."""
    # Constants of a plain callable stay as coarse as they are, so casts inside it are left alone too.
    forced = (force_float64,) if subject.module is not None else ()
    spoofed = (partial(spoof_dtype, subject.dtype),) if subject.dtype is not None else ()
    same = with_dtype(subject, torch.float64, *spoofed, *forced)
    if same is not None:
        path = operations(lambda: subject.run(subject.base()))
        same.same_path = path is not None and path == operations(lambda: same.run(same.base()))
    return same if same is not None and same.same_path else with_dtype(subject, torch.float64, *forced)


def _first_that_runs(model: Model, settings: Settings, pace: Pace) -> Subject:
    """The subject in the wanted dtype; without a wish, in float64, else in its own."""
    error: Exception | None = None
    for dtype in _wishes(model, settings):
        try:
            subject = Subject(model, settings, dtype, pace)
            with subject.borrowed():
                subject.run(subject.base())
        except SubjectError:
            raise
        except Exception as problem:
            error = problem
        else:
            return subject
    raise SubjectError(_explain(error, settings))


def _wishes(model: Model, settings: Settings) -> list[torch.dtype | None]:
    """The dtypes to try, best first; None casts nothing, which is all a plain callable of tokens offers.

    A model that mixes dtypes on purpose may run in no other way either.
    """
    if settings.dtype is not None:
        return [getattr(torch, settings.dtype)]
    if isinstance(model, nn.Module) or settings.input == "features":
        return list(dict.fromkeys([torch.float64, own_dtype(model), None]))
    return [None]


def _with_batch(subject: Subject) -> Settings:
    """The settings, with the batch that the model takes and that the budget leaves time for; one row it has taken."""
    asked = subject.rows(subject.run(subject.base()))
    rows = _halved(subject, asked) if subject.pace.budget.seconds is None else _doubled(subject, asked)
    return subject.settings if rows == asked else replace(subject.settings, batch=rows)


def _halved(subject: Subject, rows: int) -> int:
    """So many rows, halved until the model takes them."""
    while rows > 1 and not _takes(subject, rows):
        rows //= 2
    return rows


def _doubled(subject: Subject, most: int) -> int:
    """One row, doubled while the model takes more, and more cost little more or leave time for many such batches."""
    rows, before = 1, math.inf
    while rows < most:
        started, more = time.monotonic(), min(2 * rows, most)
        if not _takes(subject, more):
            break
        rows, took = more, time.monotonic() - started
        if took > subject.pace.budget.left / BATCHES and took > MAX_BATCH_SLOWDOWN * before:
            break
        before = took
    return rows


def _takes(subject: Subject, rows: int) -> bool:
    try:
        subject.run(subject.base(rows))
    except Exception:
        return False
    return True


def _explain(error: Exception | None, settings: Settings) -> str:
    shape = f"[1, {settings.seq_len}]" if settings.input == "tokens" else f"[1, {settings.seq_len}, {settings.width}]"
    fed = f"{'int64' if settings.input == 'tokens' else 'float'} {shape}"
    said = first_line(error)
    hint = next((hint for sign, hint in HINTS.items() if sign in said.lower()), HINTS[""])
    return f"the target raised {type(error).__name__} on {fed} input{': ' if said else ''}{said} ({hint})"


def _with_vocabulary(model: Model, settings: Settings) -> Settings:
    """The settings with the vocabulary size filled in from the model's configuration or first embedding."""
    if settings.input != "tokens" or settings.vocab_size is not None:
        return settings
    size = getattr(getattr(model, "config", None), "vocab_size", None)
    if not isinstance(size, int) and isinstance(model, nn.Module):
        size = next((m.num_embeddings for m in model.modules() if isinstance(m, nn.Embedding)), None)
    if not isinstance(size, int):
        raise SubjectError("the vocabulary size cannot be read from the target: give --vocab-size V (vocab_size=V)")
    settings = replace(settings, vocab_size=size)
    settings.check()
    return settings


def _internal_precision(subject: Subject) -> torch.dtype | None:
    """The coarsest floating dtype on the way of the data: tables that do not depend on the input do not count."""
    lists = []
    for name in ("base", "other"):
        with CoarseResults() as coarse:
            subject.run(subject.draw(1, subject.settings.seq_len, generator(subject.settings.seed, name)))
        lists.append(coarse.seen)
    aligned = len(lists[0]) == len(lists[1])
    moved = {a[0] for a, b in zip(*lists, strict=False) if a != b} if aligned else {d for d, _ in lists[0]}
    return max(moved, key=lambda dtype: torch.finfo(dtype).eps, default=subject.dtype)
