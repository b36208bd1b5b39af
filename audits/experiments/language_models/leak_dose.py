"""What a leak buys, dose by dose: from one later token of a chunk to the whole chunk, by chunk size and stage."""

from __future__ import annotations

from dataclasses import replace

from audits.experiments.language_models._arm import BIDIRECTIONAL, SIZES, Arm, Cell
from audits.experiments.language_models._doses import BOTH_WAYS, CAUSAL_TOP, COUNCIL, LATER, SELECTION, SUMMARY
from audits.experiments.language_models._language_model import study
from hubrouter.patterns import hub_gpt

LAYERS = 2  # small, because there are many doses
DOSES = (*LATER, BIDIRECTIONAL, SUMMARY, BOTH_WAYS, SELECTION, COUNCIL)
CONTROLS = {BOTH_WAYS: CAUSAL_TOP, SELECTION: CAUSAL_TOP}  # the matched causal arm; the clean layer's where not named
CHUNKS = {"quick": (), "full": (8, 32), "paper": (32, 128)}  # further chunk sizes
BY_CHUNK = ("later top 1", "later top 4", SUMMARY, BOTH_WAYS, COUNCIL)
FEWER = 3  # seeds of a dose; the clean arms have the tier's


def clean(tier: str) -> Arm:
    """The strictly causal arm."""
    size = SIZES[tier]
    return size.arm(hub_gpt(size.layers if tier == "paper" else LAYERS))


def study_cells(tier: str) -> tuple[Cell, ...]:
    """All doses at the tier's chunk size, some at others; there a dose takes the rate of its own at the tier's."""
    base, seeds = clean(tier), SIZES[tier].seeds
    wanted = (COUNCIL, SELECTION) if tier == "quick" else (CAUSAL_TOP, *DOSES)
    return (
        *(Cell(replace(base, chunk=chunk), seeds) for chunk in (base.chunk, *CHUNKS[tier])),
        *(Cell(replace(base, routing=routing), min(FEWER, seeds)) for routing in wanted),
        *(
            Cell(replace(base, routing=routing, chunk=chunk), min(FEWER, seeds), replace(base, routing=routing))
            for routing in BY_CHUNK
            for chunk in CHUNKS[tier]
        ),
    )


EXPERIMENT = study("leak-dose", study_cells)
