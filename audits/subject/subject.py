"""The subject of an audit: a model called from the same state every time, with one float tensor [B, N, F] as output."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from audits.subject.budget import OutOfTime
from audits.subject.call_convention import call_convention
from audits.subject.copying import copied_weights, copy_of
from audits.subject.eager import uncompiled
from audits.subject.embedding import EmbeddingTap
from audits.subject.outputs import MAIN, as_sequence
from audits.subject.progress import AuditClock
from audits.subject.randomness import generator, pinned_call
from audits.subject.settings import Settings
from audits.subject.snapshot import Snapshot

T = TypeVar("T")
Model = Callable[..., Any]
ExtraKwargs = Callable[[Tensor, torch.dtype], dict[str, Any]]  # (inputs, dtype) -> further arguments of one call
Mode = Callable[[], AbstractContextManager[object]]  # makes what is active during a call
MAX_ELEMENTS = 2**26  # of an output held at once: half a GiB in float64
MAX_TOKENS = 1024  # fed at once where rows are dear; our choice
CHEAP = 1e9  # floating-point operations of a row, about, up to which it costs nearly nothing
AFFORDED = 1.5e11  # of these operations for the rows of one probe, where a row costs more
ROWS = (6, 16)  # of these at least, and at most; our choice
SHORT = 96  # positions, the usual number, on which a dear model shows what it does at any length


class Subject:
    """A model under audit. The model itself is never changed: a copy is called; what cannot be copied is restored.

    Attributes:
        settings: as resolved (vocabulary read from the model).
        dtype: of the copy's parameters and features; None for a callable whose parameters cannot be seen.
        compute_dtype: the coarsest dtype on the way from input to output.
        module: the copy when the model is an nn.Module.
        trainable: names of the model's parameters that training would change.
        convention: how the model is called.
        outputs: the names of what is judged of that which it returns.
        not_judged: the names of floating tensors that it returns and that go with no position.
        real: makes from inputs [B, N, ...] which positions are judged, bool [B, N]; None: all.
        in_dtype: makes this one in another dtype, by the name of the property that is it; None where there is none.
        same_path: whether this one, run in place of a coarser one, provably performs the same operations.
        original: the model as it was given.
        modes: what is active during a call.
        noise: how far calls that ought to be equal differ; None until measured.
        reproducible: whether an effect has been measured repeatedly and was equal to the last bit.
        known: what was found once and for all, by what was tried.
        clock: budget and progress of the audit, shared with `float32_copy` and `float64_reference`.
    """

    def __init__(
        self,
        model: Model,
        settings: Settings,
        dtype: torch.dtype | None,
        clock: AuditClock,
        modes: Sequence[Mode] = (),
    ) -> None:
        self.settings, self.clock = settings, clock
        self.original = model
        self.model, self.copied = copy_of(model, settings.device, dtype)
        self.module = self.model if isinstance(self.model, nn.Module) else None
        named = dict(model.named_parameters()) if isinstance(model, nn.Module) else {}
        self.trainable = tuple(name for name, parameter in named.items() if parameter.requires_grad)
        self.convention = call_convention(self.model, settings.input)
        self.outputs: tuple[str, ...] = (MAIN,)
        self.not_judged: tuple[str, ...] = ()
        self.real: Callable[[Tensor], Tensor] | None = None
        # What could not be copied was not cast either.
        cast = self.module is None or (self.copied and dtype is not None)
        self.dtype = dtype if cast else own_dtype(model)
        self.compute_dtype = self.dtype
        self.in_dtype: Callable[[str], Subject | None] = lambda name: None  # noqa: ARG005 - there is none
        self.known: dict[Hashable, Any] = {}
        self.same_path = False
        self.noise: float | None = None
        self.reproducible = False
        named = dict(self.model.named_parameters()) if self.copied else {}
        self._weights = [named[name] for name in self.trainable if name in named]
        self._snapshot = Snapshot(self.model, copied_weights(model, self.model) if self.copied else {})
        self.modes = modes

    # -- calling -------------------------------------------------------------------------------------------------

    def run(
        self,
        inputs: Tensor,
        *,
        training: bool = False,
        reset: bool = True,
        grad: bool = False,
        seed: int | None = None,
        extra_kwargs: ExtraKwargs | None = None,
    ) -> Tensor:
        """Outputs [B, N, F] for inputs [B, N] or [B, N, D].

        Args:
            inputs: of the model.
            training: call in training mode, gradients recorded, instead of evaluation mode without them.
            reset: first restore buffers and attributes to how the model came; False lets state carry over.
            grad: record the graph, and return the outputs with it.
            seed: of the global generators, where it is not the audit's own.
            extra_kwargs: makes further arguments from the inputs.
        """

        def forward(model: Any, given: Tensor) -> Any:
            more = extra_kwargs(given, self.dtype or torch.float32) if extra_kwargs else None
            return self.convention(model, given, more)

        return self.call(forward, inputs, training=training, reset=reset, grad=grad, seed=seed)

    def call(
        self,
        function: Callable[[Any, Tensor], Any],
        inputs: Tensor,
        *,
        training: bool = False,
        reset: bool = True,
        grad: bool = False,
        seed: int | None = None,
    ) -> Tensor:
        """Like `run`, for another way of calling the model; the global generators are pinned meanwhile.

        What goes through torch.compile runs uncompiled: no hook and no tracer sees into a compiled graph, and each of
        the many shapes would be compiled anew.
        """
        self._snapshot.restore() if reset else self._snapshot.restore_generators()
        if self.module is not None:
            self.module.train(training)
            for weight in self._weights:
                weight.requires_grad_(training)
        given = self._cast(inputs)
        seed, recorded = self.settings.seed if seed is None else seed, grad or training
        with ExitStack() as stack:
            for context in (pinned_call(seed), torch.set_grad_enabled(recorded), self.clock.forward(), uncompiled()):
                stack.enter_context(context)
            for mode in self.modes:
                stack.enter_context(mode())
            output = self.sequence(_without_exit(function, self.model, given), inputs)
            # A copy: some models return a buffer of theirs, which the next call overwrites.
            return output.clone() if grad else output.detach().clone()

    def sequence(self, output: Any, inputs: Tensor) -> Tensor:
        """The judged outputs [B, N, F] in what the model returned for inputs; those at padding are zero."""
        found = as_sequence(output, inputs, self.outputs)
        return found if self.real is None else found.masked_fill(~self.real(inputs)[..., None], 0.0)

    def variant(self, **attributes: Any) -> Subject:
        """The same model called or judged in another way, and so its copies in other dtypes."""
        other = copy.copy(self)
        other.known = {}
        other.in_dtype = lambda name: (made := self._in_dtype(name)) and made.variant(**attributes)
        vars(other).update(attributes)
        return other

    def once(self, tried: Hashable, find: Callable[[], T]) -> T:
        """What `find` returns; of the same trial it is called once only."""
        if tried not in self.known:
            self.known[tried] = find()
        found: T = self.known[tried]
        return found

    @property
    def plan(self) -> Any:
        """How the model is called under a contract (`contracted.Plan`); None under the default one."""
        return getattr(self.model, "under_contract", None)

    def input_at(self, position: int | None) -> str:
        """What is fed at a position, in words; in the terms of the contract where it has clocks of its own."""
        named = "" if self.plan is None or position is None else self.plan.input_named(self.settings.seq_len, position)
        return named or f"position {position}"

    def output_at(self, position: int | None) -> str:
        """Where the output of a position stands, in words; in the terms of the contract likewise."""
        named = "" if self.plan is None or position is None else self.plan.output_named(self.settings.seq_len, position)
        return named or f"position {position}"

    def tapped(self, tokens: Tensor, change: Callable[[Tensor], Tensor]) -> EmbeddingTap:
        """What replaces, while it is active, the rows looked up for tokens [B, N] by `change(rows [B, N, D])`."""
        return EmbeddingTap(tokens, change) if self.plan is None else self.plan.tapped(tokens, change)

    @property
    def asked(self) -> Settings:
        """The settings in the terms of the model's own input, whatever contract it is under."""
        return self.settings if self.plan is None else self.plan.asked(self.settings)

    @property
    def parts(self) -> dict[str, nn.Module]:
        """The modules of the model by name, without what a contract puts around it."""
        inner = self.model if self.plan is None else self.model.model
        return dict(inner.named_modules()) if isinstance(inner, nn.Module) else {}

    @property
    def forwards(self) -> int:
        """How many forward passes this audit has made, those of copies included."""
        return self.clock.progress.forwards

    def restore(self) -> None:
        """Restore the called model to how it came, training mode included."""
        self._snapshot.restore()

    @contextmanager
    def preserve_state(self) -> Iterator[None]:
        """Around the audit: a model that could not be copied is restored, whatever happens."""
        try:
            yield
        finally:
            self.restore()

    @contextmanager
    def under(self, mode: Mode) -> Iterator[None]:
        """Calls under one mode more."""
        before, self.modes = self.modes, (*self.modes, mode)
        try:
            yield
        finally:
            self.modes = before

    def rows(self, outputs: Tensor | None = None) -> int:
        """How many rows to feed at once, given one row's outputs."""
        few = max(2, MAX_TOKENS // self.settings.seq_len) if self.is_dear else self.settings.batch
        most = min(self.settings.batch, few)
        return most if outputs is None else max(1, min(most, MAX_ELEMENTS // max(outputs[0].numel(), 1)))

    def _cast(self, inputs: Tensor) -> Tensor:
        # A clone, because some models write into their inputs.
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

    # -- precision and cost --------------------------------------------------------------------------------------

    @property
    def float32_copy(self) -> Subject | None:
        """The same in float32, where this one is float64 and that runs."""
        return self._in_dtype("float32_copy")

    @property
    def float64_reference(self) -> Subject | None:
        """The same in float64 throughout, where this one computes in something coarser and that runs."""
        return self._in_dtype("float64_reference")

    def _in_dtype(self, name: str) -> Subject | None:
        return self.once(name, lambda: self.in_dtype(name))

    @property
    def rows_afforded(self) -> int | None:
        """How many rows of the whole length a probe may run where a few will do; None: they cost nearly nothing."""
        return rows_afforded(self.model, self.settings)

    @property
    def is_dear(self) -> bool:
        """Whether a row of the whole length costs so much that few are run."""
        return self.rows_afforded is not None

    def shorter(self) -> Subject:
        """The same on a shorter sequence where rows are dear: for what a model does at any length."""
        if not self.is_dear or self.settings.seq_len <= SHORT:
            return self
        return self.variant(settings=replace(self.settings, seq_len=SHORT))


def _without_exit(function: Callable[[Any, Tensor], Any], model: Any, inputs: Tensor) -> Any:
    """The model's output; a model that tries to end the process (sys.exit) has raised an error like any other."""
    try:
        return function(model, inputs)
    except (Exception, KeyboardInterrupt, OutOfTime):
        raise
    except BaseException as problem:
        raise RuntimeError(f"the model tried to end the process: {type(problem).__name__}") from problem


def own_dtype(model: Model) -> torch.dtype | None:
    """The dtype of the first floating parameter or buffer, or the default; None for a plain callable."""
    if not isinstance(model, nn.Module):
        return None
    tensors = (*model.parameters(), *model.buffers())
    return next((t.dtype for t in tensors if t.is_floating_point()), torch.get_default_dtype())


def rows_afforded(model: Model, settings: Settings) -> int | None:
    """How many rows a probe may run where a few will do; None where a row costs nearly nothing.

    A row costs 2 PN operations for its P parameters and N tokens, and about 4 N^2 sqrt(P) for attention.
    """
    parameters = model.parameters() if isinstance(model, nn.Module) else ()
    weights = sum(p.numel() for p in parameters if not is_lazy(p))
    cost = 2 * weights * settings.seq_len + 4 * settings.seq_len**2 * weights**0.5
    return None if cost <= CHEAP else max(ROWS[0], min(ROWS[1], int(AFFORDED / cost)))
