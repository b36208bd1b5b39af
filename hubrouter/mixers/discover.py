"""Finds the mixers in this folder, so that adding one takes a new file and no other change."""

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
