"""What a surveyed library is: its release, its architectures, and how to build a tiny one of each."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from audits.discovery import names_in


class NotBuiltError(Exception):
    """An architecture cannot be built here; the message says why in one line."""


@dataclass(frozen=True)
class Architecture:
    """One row of the survey.

    Attributes:
        name: by which the library registers it; with a variant, followed by + and the setting's name.
        model: the class that is built.
    """

    name: str
    model: str


@dataclass(frozen=True)
class Tiny:
    """A model built for the survey, and how many tokens it knows; None where it does not say."""

    model: nn.Module
    vocab_size: int | None


@dataclass(frozen=True)
class Library:
    """A library of architectures.

    Attributes:
        name: of the package.
        release: the installed version; raises ImportError where it is not installed.
        architectures: all that are registered, in alphabetical order.
        recipe: what a tiny one is made from, as plain JSON values; part of what defines a run.
        build: one made from its recipe, with random weights drawn from a seed; raises NotBuiltError.
    """

    name: str
    release: Callable[[], str]
    architectures: Callable[[], tuple[Architecture, ...]]
    recipe: Callable[[Architecture], dict[str, Any]]
    build: Callable[[Architecture, dict[str, Any], int], Tiny]


def library_names() -> tuple[str, ...]:
    """The libraries that can be surveyed."""
    import audits.survey.libraries as package

    return names_in(package)


def find_library(name: str) -> Library:
    """The library of this name: the file of the same name in `audits/survey/libraries`."""
    found: Library = importlib.import_module(f"audits.survey.libraries.{name}").LIBRARY
    return found
