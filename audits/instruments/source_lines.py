"""Lines of the subject's source: the current Python stack without the frames of torch and of the instruments."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import nn

from audits.results import TraceStep
from audits.subject.subject import Subject

# What calls the subject, and torch; code made from a string has no file.
_CALLERS = (Path(__file__).parents[1] / room for room in ("auditor", "instruments", "probes", "subject"))
_HIDDEN = (*(str(folder) + os.sep for folder in (*_CALLERS, Path(torch.__file__).parent)), "<")


@dataclass(frozen=True)
class Frame:
    """A line of the subject's source, and the outermost package that it belongs to."""

    file: str
    line: int
    function: str
    package: str = ""

    @property
    def place(self) -> tuple[str, int]:
        """File, for messages, and line."""
        return display_path(self.file), self.line


def user_frames() -> tuple[Frame, ...]:
    """The current Python stack from the innermost line of the subject outwards, without torch and the instruments."""
    return tuple(
        Frame(f.f_code.co_filename, f.f_lineno, f.f_code.co_name, _package(str(f.f_globals.get("__name__"))))
        for f in _stack()
    )


def user_frame() -> Frame | None:
    """The innermost line of the subject; None where only torch's are on the stack."""
    return next(iter(user_frames()), None)


def own_packages(module: nn.Module | None) -> frozenset[str]:
    """The packages that the parts of a model come from; none of a plain callable."""
    return frozenset(_package(type(part).__module__) for part in (module.modules() if module is not None else ()))


def own_frame(frames: Sequence[Frame], packages: frozenset[str]) -> Frame | None:
    """The innermost line of the model's own packages: the caller, where the operation lies in a helper of another."""
    return next((frame for frame in frames if frame.package in packages), next(iter(frames), None))


def last_of_each_line(steps: Iterable[TraceStep]) -> list[TraceStep]:
    """Steps on the way of a value without those that another one at the same line follows."""
    return [list(group)[-1] for _, group in groupby(steps, key=lambda step: (step.file, step.line))]


def _package(module: str) -> str:
    return module.partition(".")[0]


def innermost_module(names: Mapping[int, str]) -> str:
    """The name of the module whose method runs, torch's included; `names` are those of modules by their id."""
    found = (names.get(id(frame.f_locals.get("self"))) for frame in _frames())
    return next((name for name in found if name is not None), "")


def user_numbers() -> tuple[int | float, ...]:
    """The numbers that the subject's innermost function names: constants, variables, attributes; those in lists too."""
    frame = next(_stack(), None)
    if frame is None:
        return ()
    owners: list[Any] = [value for value in frame.f_locals.values() if isinstance(value, nn.Module)]
    found = [*frame.f_code.co_consts, *frame.f_locals.values()]
    for name in frame.f_code.co_names:
        value = next((v for o in owners if (v := inspect.getattr_static(o, name, None)) is not None), None)
        found.append(frame.f_globals.get(name) if value is None else value)
        owners.append(value)  # a name may be an attribute of what the one before it names
    flat = (n for v in found for n in (v if isinstance(v, (tuple, list, set, frozenset)) else (v,)))
    return tuple(dict.fromkeys(n for n in flat if type(n) in (int, float)))


def _stack() -> Iterator[FrameType]:
    """The subject's frames, from the innermost outwards."""
    return (frame for frame in _frames() if not frame.f_code.co_filename.startswith(_HIDDEN))


def _frames() -> Iterator[FrameType]:
    """All frames inside the call of the subject, from the innermost outwards."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code is not Subject.call.__code__:
        yield frame
        frame = frame.f_back


def display_path(file: str) -> str:
    """A file's path for messages: relative where it lies below the working directory."""
    relative = os.path.relpath(file)
    return file if relative.startswith("..") else relative
