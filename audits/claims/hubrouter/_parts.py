"""The variants of a hub arm that explain its perplexity, by name, in the order of the tables."""

from __future__ import annotations

from dataclasses import replace

from audits.claims.hubrouter._trained import Models
from audits.experiments.language_models._arm import SIZES, Arm
from audits.experiments.language_models.systems import ablations, as_large_as_jamba


def variants(found: Models, arm: Arm) -> list[tuple[str, Arm]]:
    """The arm, its ablations, and what else was trained of it; those without runs are left out where they are shown."""
    size = SIZES[found.tier]
    more: dict[str, Arm] = {"selected tokens alone": replace(arm, council="selected")}
    letters = set(arm.pattern)
    if len(letters) == 1 and (larger := as_large_as_jamba(found.tier).get(letters.pop())):
        more["MLPs that make it as large as Jamba"] = larger
    if arm.pattern == size.arm("H" * size.layers).pattern:
        more["adaptive M"] = next(iter(adaptive_arms(found, arm)), arm)
    return [("unchanged", arm), *ablations(arm).items(), *((n, a) for n, a in more.items() if a != arm)]


def adaptive_arms(found: Models, arm: Arm) -> list[Arm]:
    """The arms of the same pattern whose hubs have a price."""
    return [other for other in found.by_arm if other.pattern == arm.pattern and other.price > 0]
