"""A library to survey: its release, its architectures, and how to build a tiny model of each."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn


class NotBuiltError(Exception):
    """An architecture cannot be built here; the message says why in one line."""

    @classmethod
    def of(cls, problem: BaseException) -> NotBuiltError:
        """From any error, its type and text in one line."""
        return cls(" ".join(f"{type(problem).__name__}: {problem}".split())[:300])


@dataclass(frozen=True)
class Architecture:
    """One row of the survey: the name in the library's registry, with a variant followed by + and its name; the class.

    `package` is the pinned package that it comes from, such as "linformer==0.2.3"; empty where that is the library.
    """

    name: str
    model: str
    package: str = ""


@dataclass(frozen=True)
class TinyModel:
    """A model in evaluation mode, and what it takes."""

    model: nn.Module
    vocab_size: int | None  # None where the model does not state it, and for features
    width: int | None = None  # features a position; None for tokens


@dataclass(frozen=True)
class Library:
    """A library of architectures, by the name of its package."""

    name: str
    release: Callable[[], str]  # the installed version; raises ImportError where it is not installed
    architectures: Callable[[], tuple[Architecture, ...]]  # all that are registered, in alphabetical order
    recipe: Callable[[Architecture], dict[str, Any]]  # arguments of a tiny model, as plain JSON; part of the run
    build: Callable[[Architecture, dict[str, Any], int], TinyModel]  # from recipe and seed; raises NotBuiltError
    fresh_process: bool = False  # no two architectures may be built in one process


def find_library(name: str) -> Library:
    """The library of this name: the file of the same name in `audits/survey/libraries`."""
    import audits.survey.libraries as package

    found: Library = importlib.import_module(f"{package.__name__}.{name}").LIBRARY
    return found
