"""From a model to a subject that is ready for the probes: dtype, batch size, vocabulary, copies in other dtypes."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from audits.formatting import first_line
from audits.subject.arguments import vocabulary
from audits.subject.call_convention import call_convention, signature
from audits.subject.contract import Contract
from audits.subject.fitting import HOW, fitted
from audits.subject.force_float64 import SpoofDtype, force_float64
from audits.subject.half_products import HalfProducts
from audits.subject.hints import hint
from audits.subject.operations import coarse_results, operations
from audits.subject.outputs import MAIN, as_sequence, further_outputs, named_tensors
from audits.subject.packing import DOCUMENT_ARGUMENTS
from audits.subject.progress import AuditClock
from audits.subject.randomness import generator
from audits.subject.settings import Settings, SubjectError
from audits.subject.subject import Mode, Model, Subject, own_dtype, rows_afforded

MIN_BATCHES = 32  # for which a budget should leave time: fewer rows at a time rather than fewer batches; our choice
MAX_BATCH_SLOWDOWN = 1.5  # at which a batch of twice the rows is still preferred; our choice


def prepare(model: Model, settings: Settings, clock: AuditClock | None = None) -> Subject:
    """A subject ready for the probes.

    Raises:
        SubjectError: it cannot be called with these settings.
        OutOfTime: the budget of the clock is spent.
    """
    settings.check()
    if type(model).__name__ == "ExportedProgram":  # of torch.export, whose import takes seconds
        model = model.module()  # type: ignore[attr-defined] # what runs it
    if not callable(model):
        raise SubjectError(f"the target is a {type(model).__name__}, not a module or callable")
    if isinstance(model, type):
        raise SubjectError(f"the target is the class {model.__name__}: give an instance of it")
    clock = clock or AuditClock()
    try:
        subject, outputs = _fed(model, settings, clock)
    except SubjectError as problem:
        subject, outputs = _without_axis(model, settings, clock, problem)
    with subject.preserve_state():
        settings = subject.settings = _with_batch(subject, outputs)
        short = subject.shorter()
        subject.outputs, subject.not_judged = _outputs(short)
        subject.compute_dtype = _compute_dtype(short)
    subject.in_dtype = partial(in_dtype, subject)
    return subject


def _fed(model: Model, settings: Settings, clock: AuditClock) -> tuple[Subject, Tensor]:
    """The subject under its contract, in the first dtype that runs, and its outputs."""
    model, settings = fitted(model, settings)
    _check_arguments(model, settings)
    return _first_that_runs(model, _with_vocabulary(model, settings), clock)


def _without_axis(model: Model, settings: Settings, clock: AuditClock, problem: SubjectError) -> tuple[Subject, Tensor]:
    """The same of a model of features of width 1 that refuses [B, N, 1], and takes [B, N].

    Raises:
        SubjectError: it takes neither; the one given.
    """
    if (settings.input, settings.width, settings.contract) != ("features", 1, None):
        raise problem
    with suppress(SubjectError, TypeError, ValueError):  # of a signature that cannot be read
        name = call_convention(model, "features").input_name or next(iter(signature(model).parameters), "x")
        return _fed(model, replace(settings, contract=Contract(inputs={name: "past:features:1"})), clock)
    raise problem


def in_dtype(subject: Subject, name: str) -> Subject | None:
    """The subject in the dtype of one of its properties, made on a short sequence where that is cheaper."""
    made = None
    if name == "float32_copy" and subject.dtype == torch.float64:
        made = with_dtype(subject.shorter(), torch.float32)
    if name == "float64_reference" and subject.compute_dtype != torch.float64:
        made = float64_reference(subject.shorter())
    return made and made.variant(settings=subject.settings)


def _check_arguments(model: Model, settings: Settings) -> None:
    """Raise SubjectError where the model requires an unknown argument, or lacks one that must isolate documents."""
    unknown = [name for name in settings.required_isolation if name not in DOCUMENT_ARGUMENTS]
    if unknown:
        raise SubjectError(
            f"documents={settings.documents!r} may name only {', '.join(DOCUMENT_ARGUMENTS)}, separated by commas"
        )
    convention = call_convention(model, settings.input)
    if (name := convention.unsupported) is not None:
        raise SubjectError(
            f"the target requires the argument {name!r} in addition to its input: {HOW.format(name=name)}; or name a "
            f"module whose forward(self, x) returns self.model(x, {name}=...)"
        )
    refused = [name for name in settings.required_isolation if not convention.accepts(name)]
    if refused:
        taken = [name for name in DOCUMENT_ARGUMENTS if name in convention.keywords]
        raise SubjectError(
            f"documents={settings.documents!r}: the target takes no argument {', '.join(refused)}; "
            f"of those for documents it takes {', '.join(taken) or 'none'}"
        )


def with_dtype(subject: Subject, dtype: torch.dtype | None, *modes: Mode) -> Subject | None:
    """The subject computed in another dtype (None: its own), under more modes; None where it does not run so.

    What it returns has neither a `float32_copy` nor a `float64_reference`.
    """
    model = subject.original
    if not isinstance(model, nn.Module) and subject.settings.input == "tokens":
        return None
    try:
        other = Subject(model, subject.settings, dtype, subject.clock, (*subject.modes, *modes))
        other.outputs = subject.outputs
        with other.preserve_state():
            other.compute_dtype = _compute_dtype(other)
    except Exception:
        return None
    usable = other.copied or other.module is None
    return other if usable and (other.compute_dtype == torch.float64 or dtype != torch.float64) else None


def float64_reference(subject: Subject) -> Subject | None:
    """The subject in float64: on the path of its own dtype if possible, else on the path that float64 takes."""
    # Constants of a plain callable stay as coarse as they are, so casts inside it are left alone too.
    forced = (force_float64,) if subject.module is not None else ()
    spoofed = (partial(SpoofDtype, subject.dtype),) if subject.dtype is not None else ()
    same = with_dtype(subject, torch.float64, *spoofed, *forced)
    if same is not None:
        path = operations(lambda: subject.run(subject.base()))
        same.same_path = path is not None and path == operations(lambda: same.run(same.base()))
    return same if same is not None and same.same_path else with_dtype(subject, torch.float64, *forced)


def _first_that_runs(model: Model, settings: Settings, clock: AuditClock) -> tuple[Subject, Tensor]:
    """The subject in the first dtype that runs, and its outputs."""
    error: Exception | None = None
    modes = () if rows_afforded(model, settings) is None else (HalfProducts,)
    for dtype in _candidate_dtypes(model, settings):
        try:
            subject = Subject(model, settings, dtype, clock, modes)
            with subject.preserve_state():
                return subject, subject.run(subject.base())
        except SubjectError:
            raise
        except Exception as problem:
            error = problem
    raise SubjectError(_explain(error, model, settings))


def _candidate_dtypes(model: Model, settings: Settings) -> list[torch.dtype | None]:
    """The dtypes to try, best first: those of the settings, float64, or its own first where a row is dear.

    None casts nothing, the only choice for a plain callable of tokens. A model that mixes dtypes on purpose may run in
    no other way either.
    """
    if settings.dtype is not None:
        return [getattr(torch, settings.dtype)]
    if isinstance(model, nn.Module) or settings.input == "features":
        first = torch.float64 if rows_afforded(model, settings) is None else own_dtype(model)
        return list(dict.fromkeys([first, torch.float64, own_dtype(model), None]))
    return [None]


def _with_batch(subject: Subject, outputs: Tensor) -> Settings:
    """The settings with the largest batch, up to theirs, that the model takes and that suits the budget."""
    short = subject.shorter()
    rows = short.rows(outputs[:, : short.settings.seq_len])
    if subject.clock.budget.seconds is not None:
        return replace(subject.settings, batch=_doubled(short, rows))
    while rows > 1 and not _fits(short, rows):
        rows //= 2
    return replace(subject.settings, batch=rows)


def _outputs(subject: Subject) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The main output and those others that are finite and go with the positions at two lengths; all that do not."""
    found: list[dict[str, Tensor]] = []
    returned: list[str] = []

    def kept(model: Any, given: Tensor) -> Any:
        output = subject.convention(model, given)
        found.append(further_outputs(output, given))
        main = as_sequence(output, given)
        returned.extend(name for name, tensor in named_tensors(output) if tensor.data_ptr() != main.data_ptr())
        return main

    length = subject.settings.seq_len
    subject.call(kept, subject.base())
    if found[0]:
        with suppress(Exception):
            subject.call(kept, subject.base(length=length - length // 2))
    again = {name: tensor.shape[2:] for name, tensor in found[-1].items()} if len(found) == 2 else {}
    finite = {name: tensor.shape[2:] for name, tensor in found[0].items() if bool(tensor.isfinite().all())}
    names = [name for name, shape in finite.items() if again.get(name) == shape]
    return (MAIN, *names), tuple(dict.fromkeys(name for name in returned if name not in names))


def _doubled(subject: Subject, most: int) -> int:
    """One row, doubled while the model takes it and it costs little more time or leaves time for MIN_BATCHES."""
    rows, before = 1, math.inf
    while rows < most:
        started, more = time.monotonic(), min(2 * rows, most)
        if not _fits(subject, more):
            break
        rows, took = more, time.monotonic() - started
        if took > subject.clock.budget.left / MIN_BATCHES and took > MAX_BATCH_SLOWDOWN * before:
            break
        before = took
    return rows


def _fits(subject: Subject, rows: int) -> bool:
    """Whether the model takes so many rows."""
    try:
        subject.run(subject.base(rows))
    except Exception:
        return False
    return True


def _explain(error: Exception | None, model: Model, settings: Settings) -> str:
    """The error of the first call on one line, with the input and what to do about it."""
    kind, width = ("int64", "") if settings.input == "tokens" else ("float", f", {settings.width}")
    raised = f"{type(error).__name__} on {kind} [1, {settings.seq_len}{width}] input"
    message = first_line(error)
    return f"the target raised {raised}{': ' if message else ''}{message} ({hint(error, model, settings)})"


def _with_vocabulary(model: Model, settings: Settings) -> Settings:
    """The settings with the vocabulary size filled in from the model's configuration or first embedding."""
    if settings.input != "tokens" or settings.vocab_size is not None:
        return settings
    size = vocabulary(model)
    if size is None:
        raise SubjectError(
            "the vocabulary size cannot be read from the target: give --vocab-size V, or of a model that takes "
            "features --input features --width D"
        )
    settings = replace(settings, vocab_size=size)
    settings.check()
    return settings


def _compute_dtype(subject: Subject) -> torch.dtype | None:
    """The coarsest floating dtype among results that depend on the input: constant tables do not count."""
    first, second = coarse_results(partial(subject.run, subject.base())), None
    other = subject.draw(1, subject.settings.seq_len, generator(subject.settings.seed, "other"))
    with suppress(Exception):  # of tokens that it refuses, which the probes report
        second = coarse_results(partial(subject.run, other))
    if second is not None and len(first) == len(second):
        first = [one for one, two in zip(first, second, strict=True) if one != two]
    changed = {dtype for dtype, _ in first}
    return max(changed, key=lambda dtype: torch.finfo(dtype).eps, default=subject.dtype)
