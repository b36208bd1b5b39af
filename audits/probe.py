"""What a probe is: an independent instrument that looks at a subject in one way and reports what it saw."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from audits.subject import Subject
from audits.verdicts import Site, Verdict


@dataclass(frozen=True)
class Pair:
    """Two inputs that agree before `cut`: a causal model's outputs agree there too. Each [1, N] or [1, N, D]."""

    base: Tensor
    changed: Tensor
    cut: int
    training: bool = False


@dataclass(frozen=True)
class Sighting:
    """One effect that should not be there; `pair` is the evidence where a pair of inputs shows it.

    `op`, `file` and `line` say where it gets in, for probes that find that out. `seen_in` is the subject that showed
    it, where that is not the one under audit but the same in another dtype.
    """

    source: Site
    sink: Site
    effect: float
    noise_floor: float
    pair: Pair | None = None
    op: str | None = None
    file: str | None = None
    line: int | None = None
    seen_in: Subject | None = None


@dataclass(frozen=True)
class Report:
    """A probe's conclusion. `applicable` is False where the subject offers nothing to probe (it cannot stream, say)."""

    verdict: Verdict
    why: str
    sightings: tuple[Sighting, ...] = ()
    applicable: bool = True


@dataclass(frozen=True)
class Probe:
    """An instrument: its name on the command line, what it looks at, and the function that does it.

    `order` is its place among the probes: what says most about how the future gets in comes first. `blind_to` says what
    it cannot see, and why; it is printed beside the planted leaks that it missed.
    """

    name: str
    looks_at: str
    order: int
    run: Callable[[Subject], Report]
    blind_to: str


def not_applicable(why: str) -> Report:
    """The report of a probe that has nothing to look at; it neither passes nor fails the subject."""
    return Report(Verdict.UNDETERMINED, f"not applicable: {why}", applicable=False)


def undetermined(why: str) -> Report:
    """The report of a probe whose positive control failed, or that could not decide."""
    return Report(Verdict.UNDETERMINED, why)


def all_probes() -> tuple[Probe, ...]:
    """Every probe: one file each in `audits/probes`, in the order they are run."""
    import audits.probes as package

    modules = (importlib.import_module(f"audits.probes.{m.name}") for m in pkgutil.iter_modules(package.__path__))
    return tuple(sorted((module.PROBE for module in modules), key=lambda probe: (probe.order, probe.name)))
