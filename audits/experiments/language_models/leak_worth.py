"""What a leak is worth: Hub-GPT with and without leaks trained alike on text, audited, and evaluated when clean."""

from __future__ import annotations

from audits.evidence.experiment import Options
from audits.experiments.language_models._language_model import CAUSAL, COUNCIL, SELECTION, SIZES, Arm, study
from hubrouter.patterns import hub_gpt


def arms(options: Options) -> tuple[Arm, ...]:
    """Strictly causal, the council before the fix, and the fix with selection inside the chunk."""
    pattern = hub_gpt(SIZES[options.tier].layers)
    return tuple(Arm(pattern, routing) for routing in (CAUSAL, COUNCIL, SELECTION))


EXPERIMENT = study("leak-worth", arms)
