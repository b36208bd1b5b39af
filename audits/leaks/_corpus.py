"""The leak corpus: all planted leaks, found by looking into their folder."""

from __future__ import annotations

from audits.discovery import modules_in
from audits.leaks._planted import PlantedLeak


def all_leaks() -> tuple[PlantedLeak, ...]:
    """Every planted leak: one file each in `audits/leaks`, in the order of their names."""
    import audits.leaks as package

    return tuple(module.LEAK for module in modules_in(package))
