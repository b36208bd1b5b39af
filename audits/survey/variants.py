"""Settings off by default that have leaked before: each is surveyed as a row of its own, where the architecture exists.

The first name is the architecture, the second the variant, which the table shows as `architecture+variant`. A setting
that a release refuses makes the row NOT_BUILT.
"""

from __future__ import annotations

from typing import Any

_ORIGINAL_LENGTH = 16  # positions that the rotary frequencies were made for: less than half of what is fed

RISKY: dict[str, dict[str, dict[str, Any]]] = {
    # frequencies from the length of the call: huggingface/transformers#25104
    "llama": {
        "dynamic-rope": {
            "max_position_embeddings": _ORIGINAL_LENGTH,
            "rope_scaling": {"type": "dynamic", "factor": 2.0},
        }
    },
    # short or long factors by the length of the call: the same, by design of the checkpoints
    "phi3": {
        "longrope": {
            "original_max_position_embeddings": _ORIGINAL_LENGTH,
            "rope_scaling": {"type": "longrope", "short_factor": [1.0] * 4, "long_factor": [2.0] * 4},
        }
    },
    # biases passed as a mask take the place of the causal one: huggingface/transformers#29946
    "falcon": {"alibi": {"alibi": True}},
}
