"""Tiny models of a library as targets for the command line: `audits.survey.targets.transformers:jamba`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from audits.survey.library import Architecture, Library, find_library


def attributes_of(name: str) -> Callable[[str], partial[nn.Module]]:
    """The `__getattr__` of a module that stands for this library: its architectures, built when they are called."""
    library = find_library(name)

    def attribute(wanted: str) -> partial[nn.Module]:
        for architecture in library.architectures():
            if architecture.name == wanted:
                return partial(_build, library, architecture)
        raise AttributeError(f"the survey of {name} has no architecture {wanted!r}")

    return attribute


def _build(library: Library, architecture: Architecture) -> nn.Module:
    return library.build(architecture, library.recipe(architecture), 0).model
