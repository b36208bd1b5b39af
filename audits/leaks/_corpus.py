"""All planted leaks, found by looking into their folder."""

from __future__ import annotations

from audits.discovery import modules_in
from audits.leaks._control import Twin


def all_twins() -> tuple[Twin, ...]:
    """Every twin: one file each in `audits/leaks`, in the order of their names."""
    import audits.leaks as package

    return tuple(module.TWIN for module in modules_in(package))
