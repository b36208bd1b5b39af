"""Scaling: the systems over three widths and two texts, so that a verdict is a slope and not a point."""

from __future__ import annotations

from dataclasses import replace

from audits.experiments.language_models._arm import SIZES, Arm, Cell
from audits.experiments.language_models._language_model import study
from audits.experiments.language_models.systems import SHARES, own_chunk, replaced, systems
from audits.experiments.training.corpora.prose import PROSE

WIDTHS = {"quick": (), "full": (32, 64, 96), "paper": (256, 512, 768)}
TEXTS = ("", PROSE)  # the user's, and the prose that comes with Python
SEEDS = 3


def arms(tier: str) -> dict[str, Arm]:
    """The arms at the tier's own width, by name."""
    named = systems(SIZES[tier])
    found = {name: named[name] for name in ("Transformer", "Hub-GPT", "Jamba", "Hub-Jamba")}
    found |= {
        f"{100 * share:.0f} % replaced": arm for share, arm in replaced(SIZES[tier]).items() if share == SHARES[0]
    }
    return found | {"Hub-GPT, own chunk alone": own_chunk(named["Hub-GPT"])}


def study_cells(tier: str) -> tuple[Cell, ...]:
    """Every arm at every width on both texts; a rate is tuned at each width on the user's text and serves for both."""
    return tuple(
        Cell(replace(arm, width=width, text=text), SEEDS, replace(arm, width=width))
        for text in TEXTS
        for width in WIDTHS[tier]
        for arm in arms(tier).values()
    )


EXPERIMENT = study("scaling", study_cells)
