"""All planted leaks, found by looking into their folder."""

from __future__ import annotations

import importlib
import pkgutil

from audits.twin import Twin


def all_twins() -> tuple[Twin, ...]:
    """Every twin: one file each in `audits/leaks`, in the order of their names."""
    import audits.leaks as package

    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("_"))
    return tuple(importlib.import_module(f"audits.leaks.{name}").TWIN for name in names)
