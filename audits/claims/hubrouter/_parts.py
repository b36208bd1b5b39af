"""The variants of a hub arm that explain its perplexity, by name, in the order of the tables."""

from __future__ import annotations

from dataclasses import replace

from audits.claims.hubrouter._trained import Models
from audits.experiments.language_models._arm import SIZES, Arm
from audits.experiments.language_models.systems import ablations, adaptive, as_large_as_jamba, systems


def variants(found: Models, arm: Arm) -> list[tuple[str, Arm]]:
    """The arm, its ablations, and what else was trained of it; those without runs are left out where they are shown."""
    size = SIZES[found.tier]
    more: dict[str, Arm] = {"selected tokens alone": replace(arm, council="selected")}
    if arm == systems(size)["Hub-GPT"]:
        if larger := as_large_as_jamba(found.tier).get("H"):
            more["MLPs that make it as large as Jamba"] = larger
        more["adaptive M"] = adaptive(size)
    return [("unchanged", arm), *ablations(arm).items(), *more.items()]
