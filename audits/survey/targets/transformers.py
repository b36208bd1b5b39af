"""Every surveyed architecture of transformers, built on access."""

from __future__ import annotations

from functools import partial

from torch import nn

from audits.survey.library import find_library


def _build(name: str) -> nn.Module:
    library = find_library("transformers")
    found = {architecture.name: architecture for architecture in library.architectures()}
    return library.build(found[name], library.recipe(found[name]), 0).model


def __getattr__(name: str) -> partial[nn.Module]:
    found = {architecture.name for architecture in find_library("transformers").architectures()}
    if name not in found:
        raise AttributeError(f"transformers registers no causal language model {name!r}")
    return partial(_build, name)
