"""The efficient-attention families of the paper's related work as language models, at one scale, tuned alike."""

from __future__ import annotations

from audits.experiments.language_models._arm import SIZES, Arm, Cell, cells
from audits.experiments.language_models._language_model import study

FAMILIES = {
    "sliding window": "W",
    "linear attention": "L",
    "Performer": "P",
    "RWKV-like": "R",
    "S4D": "S",
    "compressed attention": "C",
    "Mamba": "M",
}
SEEDS = 3


def arms(tier: str) -> dict[str, Arm]:
    """One letter in every layer; the Transformer and Hub-GPT are arms of the systems."""
    size = SIZES[tier]
    return {name: size.arm(letter * size.layers) for name, letter in FAMILIES.items()}


def study_cells(tier: str) -> tuple[Cell, ...]:
    """All families; none in `quick`."""
    return () if tier == "quick" else cells(tuple(arms(tier).values()), SEEDS)


EXPERIMENT = study("families", study_cells)
