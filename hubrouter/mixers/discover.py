"""Finds the mixers by looking into this folder, so that a new mixer is a new file and nothing else."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping

from torch import nn

import hubrouter.mixers as package
from hubrouter.config import ModelConfig

Builder = Callable[[ModelConfig], nn.Module]


def builders() -> Mapping[str, Builder]:
    """Letter of a layer pattern -> builder of that mixer."""
    modules = (importlib.import_module(f"{package.__name__}.{m.name}") for m in pkgutil.iter_modules(package.__path__))
    return {module.LETTER: module.build for module in modules if hasattr(module, "LETTER")}
