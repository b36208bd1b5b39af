"""The subject of an audit: somebody's model, called from the same state every time, as one float tensor [B, N, F]."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from audits.subject.budget import OutOfTime
from audits.subject.copying import copy_of
from audits.subject.feeding import feeding_of
from audits.subject.force_float64 import saying, widened
from audits.subject.operations import operations
from audits.subject.packing import WORDS
from audits.subject.progress import Pace
from audits.subject.randomness import generator, pinned
from audits.subject.snapshot import Snapshot

Model = Callable[..., Any]
Told = Callable[[Tensor, torch.dtype], dict[str, Any]]  # (inputs, dtype) -> further arguments of one call
DTYPES = {"float64": torch.float64, "float32": torch.float32, "bfloat16": torch.bfloat16}
MAX_ELEMENTS = 2**26  # of an output held at once: half a GiB in float64
BATCHES = 32  # that a budget should leave time for: fewer rows at a time rather than fewer batches; our choice
DEARER = 1.5  # twice the rows at this much of the time are a gain that is worth it; our choice


NEEDS_GPU = "it seems to need a GPU: run it where there is one, with --device cuda"
HINTS = {  # what to do about an error, by what it says; the last one fits all
    "cuda": NEEDS_GPU,
    "nvidia": NEEDS_GPU,
    "meta tensor": "weights on the meta device hold no values: load or initialise them",
    "uninitialized parameter": "lazy modules have no weights yet: name a factory that calls the model once",
    "": "check --input, --vocab-size, --width, --seq-len, --dtype and --device",
}


class SubjectError(Exception):
    """The model cannot be audited as asked; the message says why and how to mend it, in one line."""


@dataclass(frozen=True)
class Settings:
    """What is fed to the subject, and how.

    Attributes:
        input: "tokens" (int64 [B, N] in [0, vocab_size)) or "features" (float [B, N, width]).
        vocab_size: number of token ids; read from the model when None.
        width: features a position, for feature models.
        seq_len: N.
        batch: most rows in one forward pass; 1 switches batching off.
        seed: of everything drawn.
        dtype: a name in DTYPES; None means float64 where the model can be cast, else its own.
        device: a torch device name.
        documents: arguments, comma-separated, that are held to keep packed documents apart; None: those that say so.
    """

    input: str = "tokens"
    vocab_size: int | None = None
    width: int | None = None
    seq_len: int = 96
    batch: int = 32
    seed: int = 0
    dtype: str | None = None
    device: str = "cpu"
    documents: str | None = None

    @property
    def insisted(self) -> tuple[str, ...]:
        """The arguments for documents that were asked for by name."""
        return tuple(word.strip() for word in self.documents.split(",")) if self.documents is not None else ()

    def check(self) -> None:
        """Raise SubjectError where the settings alone cannot work."""
        numbers = (self.seq_len, self.batch, self.seed, self.vocab_size or 0, self.width or 0)
        if not all(isinstance(number, int) for number in numbers):
            raise SubjectError("seq_len, batch, seed, vocab_size and width must be whole numbers")
        rules = [
            (self.input in ("tokens", "features"), f"input must be 'tokens' or 'features', not {self.input!r}"),
            (self.seq_len >= 2, f"seq_len={self.seq_len} leaves no earlier position to leak into: use at least 2"),
            (0 <= self.seed < 2**63, f"seed must be from 0 to 2^63 - 1, not {self.seed}"),
            (self.batch >= 1, f"batch must be at least 1, not {self.batch}"),
            (
                self.dtype is None or self.dtype in DTYPES,
                f"dtype must be one of {', '.join(DTYPES)}, not {self.dtype!r}",
            ),
            (
                self.vocab_size is None or self.vocab_size >= 2,
                f"vocab_size={self.vocab_size}: with fewer than 2 tokens nothing can be changed",
            ),
            (self.input == "tokens" or (self.width or 0) >= 1, "feature models need --width D (width=D), at least 1"),
            (
                self.input == "features" or self.width is None,
                f"width={self.width} is for feature models: add --input features (input='features')",
            ),
            (
                set(self.insisted) <= set(WORDS),
                f"documents={self.documents!r} must be made of {', '.join(WORDS)}, separated by commas",
            ),
        ]
        for holds, message in rules:
            if not holds:
                raise SubjectError(message)
        try:
            torch.empty(0, device=self.device)
        except (RuntimeError, AssertionError) as problem:
            raise SubjectError(f"device {self.device!r} cannot be used here: {_first_line(problem)}") from problem


class Subject:
    """A model under audit. The model itself is never touched: a copy is called; what cannot be copied is put back.

    Attributes:
        settings: as resolved (vocabulary read from the model).
        dtype: of the copy's parameters and features; None for a callable whose parameters cannot be seen.
        internal: the coarsest dtype on the way of the data.
        module: the copy when the model is an nn.Module.
        trainable: names of the model's parameters that training would move.
        feed: calls a model the way this one wants to be called.
        forwards: how many forward passes have been made.
        lower: the same in float32, where this one is float64 and that runs.
        finer: the same in float64 throughout, where this one computes in something coarser.
        same_path: whether this one, called in place of a coarser one, provably carries out the same operations.
        origin: the model as it was given.
        noise: how far calls that ought to be equal differ; None until measured.
        random: whether outputs in evaluation mode depend on the global generators; None until tried.
        steady: whether an effect has been seen to be the same to the last bit again and again.
        pace: the clock of the audit, shared with `lower` and `finer`.
    """

    def __init__(
        self,
        model: Model,
        settings: Settings,
        dtype: torch.dtype | None,
        pace: Pace,
        *,
        wide: bool = False,
        said: torch.dtype | None = None,
    ) -> None:
        self.settings, self.pace = settings, pace
        self.forwards = 0
        self.origin = model
        self.model, self.copied = copy_of(model, settings.device, dtype)
        self.module = self.model if isinstance(self.model, nn.Module) else None
        self.trainable = _trainable(model)
        self.feed = feeding_of(self.model, settings.input)
        # What could not be copied was not cast either.
        cast = self.module is None or (self.copied and dtype is not None)
        self.dtype = dtype if cast else own_dtype(model)
        self.internal = self.dtype
        self.lower: Subject | None = None
        self.finer: Subject | None = None
        self.same_path = False
        self.noise: float | None = None
        self.steady = False
        self.random: bool | None = None
        self._snapshot = Snapshot(self.model)
        self._wide, self._said = wide, said

    # -- calling -------------------------------------------------------------------------------------------------

    def run(
        self,
        inputs: Tensor,
        *,
        training: bool = False,
        fresh: bool = True,
        grad: bool = False,
        seed: int | None = None,
        told: Told | None = None,
    ) -> Tensor:
        """Outputs [B, N, F] for inputs [B, N] or [B, N, D].

        Args:
            inputs: what is fed.
            training: call in training mode instead of evaluation mode.
            fresh: first put buffers and attributes back to how the model came; False lets state carry over.
            grad: record the graph.
            seed: of the global generators, where it is not the audit's own.
            told: makes further arguments from the inputs.
        """

        def once(model: Any, given: Tensor) -> Any:
            return self.feed(model, given, told(given, self.dtype or torch.float32) if told else None)

        return self.call(once, inputs, training=training, fresh=fresh, grad=grad, seed=seed)

    def call(
        self,
        function: Callable[[Any, Tensor], Any],
        inputs: Tensor,
        *,
        training: bool = False,
        fresh: bool = True,
        grad: bool = False,
        seed: int | None = None,
    ) -> Tensor:
        """Like `run`, for another way of calling the model; the global generators are pinned around it.

        What goes through torch.compile runs as it is written: no hook and no tracer sees into a compiled graph, and
        each of the many shapes would be compiled anew.
        """
        self._snapshot.restore() if fresh else self._snapshot.rewind()
        if self.module is not None:
            self.module.train(training)
        self.forwards += 1
        given = self._cast(inputs)
        seed = self.settings.seed if seed is None else seed
        with pinned(seed), torch.set_grad_enabled(grad), self._disguised(), self.pace.forward():
            with torch.compiler.set_stance("force_eager"):
                output = as_sequence(_contained(function, self.model, given), inputs)
            # A copy: some models return a buffer of theirs, which the next call overwrites.
            return output.clone()

    def _disguised(self) -> ExitStack:
        """What makes this subject compute in another precision than it is asked to, or than it says."""
        modes = ExitStack()
        if self._said is not None:
            modes.enter_context(saying(self._said))
        if self._wide:
            modes.enter_context(widened())
        return modes

    def restore(self) -> None:
        """Put the called model back to how it came, training mode included."""
        self._snapshot.restore()

    @contextmanager
    def borrowed(self) -> Iterator[None]:
        """Around the audit: whatever happens, a model that could not be copied is given back as it came."""
        try:
            yield
        finally:
            self.restore()

    def rows(self, outputs: Tensor | None = None) -> int:
        """How many rows to feed at once, given one row's outputs."""
        if outputs is None:
            return self.settings.batch
        return max(1, min(self.settings.batch, MAX_ELEMENTS // max(outputs[0].numel(), 1)))

    def _cast(self, inputs: Tensor) -> Tensor:
        # A clone, because some models write into what they are given.
        dtype = (self.dtype or torch.float32) if self.settings.input == "features" else inputs.dtype
        return inputs.to(self.settings.device, dtype, copy=True)

    # -- inputs --------------------------------------------------------------------------------------------------

    def draw(self, rows: int, length: int, gen: torch.Generator) -> Tensor:
        """Random inputs: uniform tokens, or standard normal features."""
        if self.settings.input == "features":
            return torch.randn(rows, length, self.settings.width or 1, generator=gen, dtype=torch.float64)
        return torch.randint(self.settings.vocab_size or 2, (rows, length), generator=gen)

    def base(self, rows: int = 1, length: int | None = None) -> Tensor:
        """The unperturbed inputs of this audit; the same for every probe."""
        return self.draw(rows, length or self.settings.seq_len, generator(self.settings.seed, "base"))

    # -- precision -----------------------------------------------------------------------------------------------

    @property
    def pure(self) -> bool:
        """Whether all arithmetic really is float64 and float32 is at hand for comparison."""
        return self.lower is not None and self.internal == torch.float64


def _contained(function: Callable[[Any, Tensor], Any], model: Any, inputs: Tensor) -> Any:
    """The model's output; a model that tries to end the process (sys.exit) has raised an error like any other."""
    try:
        return function(model, inputs)
    except (Exception, KeyboardInterrupt, OutOfTime):
        raise
    except BaseException as problem:
        raise RuntimeError(f"the model tried to end the process: {type(problem).__name__}") from problem


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
        subject.lower = _other(model, subject, torch.float32)
    if subject.internal != torch.float64:
        subject.finer = refined(subject)
    return subject


def _check_arguments(model: Model, settings: Settings) -> None:
    """Raise SubjectError where the model wants what nobody can guess, or does not take what was insisted on."""
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


def elsewhere(subject: Subject, dtype: torch.dtype | None) -> Subject | None:
    """The subject computed in another dtype, None for its own, without a `finer` one; None where it does not run so."""
    return _other(subject.origin, subject, dtype)


def refined(subject: Subject) -> Subject | None:
    """The subject in float64: on the path of its own dtype if that can be had, else on whatever path float64 takes."""
    # Constants of a plain callable stay as coarse as they are, so casts inside it are left alone too.
    model, wide = subject.origin, subject.module is not None
    same = _other(model, subject, torch.float64, wide=wide, said=subject.dtype)
    if same is not None:
        path = operations(lambda: subject.run(subject.base()))
        same.same_path = path is not None and path == operations(lambda: same.run(same.base()))
    return same if same is not None and same.same_path else _other(model, subject, torch.float64, wide=wide)


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
        return [DTYPES[settings.dtype]]
    if isinstance(model, nn.Module) or settings.input == "features":
        return list(dict.fromkeys([torch.float64, own_dtype(model), None]))
    return [None]


def _other(
    model: Model,
    of: Subject,
    dtype: torch.dtype | None,
    *,
    wide: bool = False,
    said: torch.dtype | None = None,
) -> Subject | None:
    """The same subject in another precision, to compare with; None where there is none to be had."""
    if not isinstance(model, nn.Module) and of.settings.input == "tokens":
        return None
    try:
        subject = Subject(model, of.settings, dtype, of.pace, wide=wide, said=said)
        with subject.borrowed():
            subject.run(subject.base())
            subject.internal = _internal_precision(subject)
    except Exception:
        return None
    usable = subject.copied or subject.module is None
    return subject if usable and (subject.internal == torch.float64 or dtype != torch.float64) else None


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
        if took > subject.pace.budget.left / BATCHES and took > DEARER * before:
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
    said = _first_line(error)
    hint = next((hint for sign, hint in HINTS.items() if sign in said.lower()), HINTS[""])
    return f"the target raised {type(error).__name__} on {fed} input{': ' if said else ''}{said} ({hint})"


def _first_line(problem: object) -> str:
    text = str(problem).strip().splitlines()
    return text[0][:300] if text else ""


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


def _trainable(model: Model) -> tuple[str, ...]:
    named = model.named_parameters() if isinstance(model, nn.Module) else ()
    return tuple(name for name, parameter in named if parameter.requires_grad)


def own_dtype(model: Model) -> torch.dtype | None:
    """The dtype of the first floating parameter or buffer; None for a plain callable."""
    if not isinstance(model, nn.Module):
        return None
    tensors = (t for t in (*model.parameters(), *model.buffers()) if t.is_floating_point())
    return next((t.dtype for t in tensors), torch.float32)


def as_sequence(output: Any, inputs: Tensor) -> Tensor:
    """The output's sequence tensor, float [B, N, F]: understands `.logits`, `.last_hidden_state`, dicts and tuples."""
    for name in ("logits", "last_hidden_state"):
        found = output.get(name) if isinstance(output, dict) else getattr(output, name, None)
        if isinstance(found, Tensor):
            return as_sequence(found, inputs)
    while isinstance(output, (tuple, list)) and output:
        output = output[0]
    if not isinstance(output, Tensor):
        keys = f" with {', '.join(map(str, output)) or 'no keys'}" if isinstance(output, dict) else ""
        raise SubjectError(
            f"the target returned a {type(output).__name__}{keys}, not a tensor [B, N, ...] or an object with .logits: "
            "wrap it in a function that returns the tensor"
        )
    output = output if output.layout == torch.strided else output.to_dense()
    if output.ndim < 2 or tuple(output.shape[:2]) != tuple(inputs.shape[:2]):
        wanted = f"[{inputs.shape[0]}, {inputs.shape[1]}, ...]"
        raise SubjectError(
            f"the target returned shape {list(output.shape)} for {wanted}: it must keep batch and sequence axes first"
        )
    if not output.numel():
        raise SubjectError(
            f"the target returned an empty tensor of shape {list(output.shape)}: nothing can be compared"
        )
    numbers: Tensor = output if output.is_floating_point() or output.is_complex() else output.double()
    numbers = torch.view_as_real(numbers) if numbers.is_complex() else numbers
    return numbers.flatten(2) if numbers.ndim > 2 else numbers[..., None]


class _Dtypes(TorchDispatchMode):
    """Collects dtype and checksum of everything coarser than float64 that operations produce, in order."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # torch leaves it unannotated
        self.seen: list[tuple[torch.dtype, float]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output: Any = func(*args, **(kwargs or {}))
        for tensor in output if isinstance(output, (tuple, list)) else (output,):
            if isinstance(tensor, Tensor) and tensor.is_floating_point() and tensor.dtype != torch.float64:
                self.seen.append((tensor.dtype, float(tensor.detach().double().nan_to_num().sum())))
        return output


def _internal_precision(subject: Subject) -> torch.dtype | None:
    """The coarsest floating dtype on the way of the data: tables that do not depend on the input do not count."""
    lists = []
    for name in ("base", "other"):
        with _Dtypes() as dtypes:
            subject.run(subject.draw(1, subject.settings.seq_len, generator(subject.settings.seed, name)))
        lists.append(dtypes.seen)
    aligned = len(lists[0]) == len(lists[1])
    moved = {a[0] for a, b in zip(*lists, strict=False) if a != b} if aligned else {d for d, _ in lists[0]}
    return max(moved, key=lambda dtype: torch.finfo(dtype).eps, default=subject.dtype)
