"""Finds plug-ins: one file each in a package's folder; a file starting with an underscore is shared material."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType


def names_in(package: ModuleType) -> tuple[str, ...]:
    """The names of a package's plug-ins, sorted; none of them is imported."""
    found = (module.name for module in pkgutil.iter_modules(package.__path__) if not module.ispkg)
    return tuple(sorted(name for name in found if not name.startswith("_")))


def modules_in(*packages: ModuleType) -> tuple[ModuleType, ...]:
    """Every plug-in of these packages, imported, in the order of the packages and then of the names."""
    return tuple(
        importlib.import_module(f"{package.__name__}.{name}") for package in packages for name in names_in(package)
    )
