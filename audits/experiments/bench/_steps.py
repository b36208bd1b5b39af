"""What is timed of a layer: one forward pass, one forward and backward pass, or one decode step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from audits.experiments.bench._decode import TOKENS
from audits.experiments.bench._floor import Shape
from audits.experiments.bench._layers import Entry
from audits.experiments.bench._memory import peak_bytes
from audits.experiments.bench._timing import seconds_of
from hubrouter.config import ConfigError


def nothing() -> None:
    """What is to be done after a step that leaves nothing behind."""


@dataclass(frozen=True)
class Step:
    """One step that can be carried out again and again; `run` is timed, `clean` afterwards is not.

    `tokens` is how many tokens it decodes after each other, and 1 where all of them are one step.
    """

    run: Callable[[], object]
    device: str
    clean: Callable[[], object] = nothing
    tokens: int = 1

    def seconds(self) -> float:
        """Seconds of the whole step."""
        taken = seconds_of(self.run, self.device)
        self.clean()
        return taken

    def peak(self) -> int:
        """Bytes at its peak beyond what was held before; weights and inputs were."""
        found = peak_bytes(self.run, self.device)
        self.clean()
        return found


class Workshop:
    """Makes the steps of one run: every layer is built once, with equal seeds, and all read the same tokens."""

    def __init__(self, shape: Shape, passes: str, device: str) -> None:
        self.shape, self.passes, self.device = shape, passes, device
        self.tokens, self.module = cache(self._tokens), cache(self._module)

    def step(self, entry: Entry, n: int) -> Step:
        """A step of the layer at n tokens, or at position n; whatever the layer refuses is raised here or in `run`."""
        module = self.module(entry)
        made = {"forward": self._forward, "forward+backward": self._training, "decode": self._decode}
        with entry.within():
            step = made[self.passes](entry, module, n)
        return Step(_inside(entry, step.run), step.device, step.clean, step.tokens)

    def _module(self, entry: Entry) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            return entry.build().to(self.device, getattr(torch, self.shape.dtype))

    def _tokens(self, n: int, seed: int) -> Tensor:
        generator = torch.Generator(self.device).manual_seed(seed)
        size, dtype = (self.shape.batch, n, self.shape.d_model), getattr(torch, self.shape.dtype)
        return torch.randn(size, generator=generator, device=self.device, dtype=dtype)

    def _forward(self, _entry: Entry, module: nn.Module, n: int) -> Step:
        x = self.tokens(n, 0)
        return Step(_without_gradient(lambda: module(x)), self.device)

    def _training(self, _entry: Entry, module: nn.Module, n: int) -> Step:
        x, gradient = self.tokens(n, 0).detach().requires_grad_(), self.tokens(n, 1)

        def clean() -> None:
            module.zero_grad(set_to_none=True)
            x.grad = None

        return Step(lambda: _output(module(x)).backward(gradient), self.device, clean)

    def _decode(self, entry: Entry, module: nn.Module, n: int) -> Step:
        if entry.decode is None:
            raise ConfigError(f"{entry.name} has no decode step here")
        tokens = self.tokens(TOKENS, 2)
        with torch.no_grad():
            decoded = entry.decode(module, self.tokens(n, 0))
        return Step(_without_gradient(lambda: decoded(tokens)), self.device, tokens=TOKENS)


def _output(given: Any) -> Tensor:
    """The tensor of a layer that returns more than that."""
    output: Tensor = given[0] if isinstance(given, tuple) else given
    return output


def _without_gradient(run: Callable[[], object]) -> Callable[[], None]:
    def quiet() -> None:
        with torch.no_grad():
            run()

    return quiet


def _inside(entry: Entry, run: Callable[[], object]) -> Callable[[], None]:
    def surrounded() -> None:
        with entry.within():
            run()

    return surrounded
