"""What a probe is: an independent instrument that looks at a subject in one way and reports what it saw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from audits.results import Site, Verdict
from audits.subject.settings import Settings
from audits.subject.subject import Subject, Told


@dataclass(frozen=True)
class Pair:
    """Two inputs that agree before `cut`: a causal model's outputs agree there too. Each [1, N] or [1, N, D].

    Where packed documents are told to the model (`told`), it is the outputs of another document than the changed one
    that must agree: those from `watched[0]` to before `watched[1]`.
    """

    base: Tensor
    changed: Tensor
    cut: int
    training: bool = False
    told: Told | None = None
    watched: tuple[int, int] | None = None

    @property
    def still(self) -> tuple[int, int]:
        """First position and end of the outputs that must agree."""
        return self.watched or (0, self.cut)


@dataclass(frozen=True)
class Sighting:
    """One effect that should not be there; `pair` is the evidence where a pair of inputs shows it.

    `op`, `file` and `line` say where it gets in, for probes that find that out. `seen_in` is the copy in which it was
    seen, where that is not the subject as it came: one in another dtype, or with its all-zero weights filled in.
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
    """A probe's conclusion.

    `applicable` is False where the subject offers nothing to probe (it cannot stream, say); `still` where nothing moved
    at all, so that nothing was tested.
    """

    verdict: Verdict
    why: str
    sightings: tuple[Sighting, ...] = ()
    applicable: bool = True
    still: bool = False


def batches(settings: Settings, rows: int) -> int:
    """How many forward passes so many rows take."""
    return -(-rows // settings.batch)


def _few(settings: Settings) -> int:
    """For probes whose cost does not grow with the length."""
    del settings
    return 8


@dataclass(frozen=True)
class Probe:
    """An instrument: its name on the command line, what it looks at, and the function that does it.

    `order` is its place among the probes: what says most about how the future gets in comes first. `blind_to` says what
    it cannot see, and why; it is printed beside the planted leaks that it missed. `forwards` says about how many
    forward passes it makes on a model without a leak, for whoever waits.
    """

    name: str
    looks_at: str
    order: int
    run: Callable[[Subject], Report]
    blind_to: str
    forwards: Callable[[Settings], int] = _few


def not_applicable(why: str) -> Report:
    """The report of a probe that has nothing to look at; it neither passes nor fails the subject."""
    return Report(Verdict.UNDETERMINED, f"not applicable: {why}", applicable=False)


def undetermined(why: str) -> Report:
    """The report of a probe that could not decide."""
    return Report(Verdict.UNDETERMINED, why)


def unmoved(why: str) -> Report:
    """The report of a probe whose positive control failed."""
    return Report(Verdict.UNDETERMINED, f"positive control failed: {why}", still=True)
