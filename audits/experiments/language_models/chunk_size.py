"""The chunk size C of Hub-GPT, after the council fix and before it."""

from __future__ import annotations

from audits.evidence.experiment import Options
from audits.experiments.language_models._language_model import CAUSAL, COUNCIL, SIZES, Arm, study
from hubrouter.patterns import hub_gpt

# k stays what it is, so that only C varies. None in `quick`: a pilot found that its size establishes nothing.
CHUNKS: dict[str, tuple[int, ...]] = {"quick": (), "full": (8, 16, 32), "paper": (32, 64, 128)}


def arms(options: Options) -> tuple[Arm, ...]:
    """Every chunk size with both councils."""
    pattern = hub_gpt(SIZES[options.tier].layers)
    return tuple(Arm(pattern, routing, chunk) for chunk in CHUNKS[options.tier] for routing in (CAUSAL, COUNCIL))


EXPERIMENT = study("chunk-size", arms)
