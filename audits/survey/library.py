"""What a surveyed library is: its release, its architectures, and how to build a tiny one of each."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass

from torch import nn


class NotBuiltError(Exception):
    """An architecture cannot be built here; the message says why in one line."""


@dataclass(frozen=True)
class Architecture:
    """One row of the survey.

    Attributes:
        name: by which the library registers it; with a variant, followed by + and the setting's name.
        model: the class that is built.
        variant: settings that differ from the default configuration.
    """

    name: str
    model: str
    variant: tuple[tuple[str, object], ...] = ()


@dataclass(frozen=True)
class Tiny:
    """A model built for the survey, and how it was made."""

    model: nn.Module
    vocab_size: int | None
    made: str  # the configuration in one line


@dataclass(frozen=True)
class Library:
    """A library of architectures.

    Attributes:
        name: of the package.
        release: the installed version; raises ImportError where it is not installed.
        architectures: all that are registered, in alphabetical order.
        build: a tiny one with random weights, drawn from a seed; raises NotBuiltError.
    """

    name: str
    release: Callable[[], str]
    architectures: Callable[[], tuple[Architecture, ...]]
    build: Callable[[Architecture, int], Tiny]


def library_names() -> tuple[str, ...]:
    """The libraries that can be surveyed."""
    import audits.survey.libraries as package

    return tuple(sorted(module.name for module in pkgutil.iter_modules(package.__path__)))


def find_library(name: str) -> Library:
    """The library of this name: the file of the same name in `audits/survey/libraries`."""
    found: Library = importlib.import_module(f"audits.survey.libraries.{name}").LIBRARY
    return found
