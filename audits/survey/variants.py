"""Settings surveyed in addition to the default ones, each as a row of its own.

They make an architecture causal, or have leaked before.
The first name is the architecture, the second the variant, which the table shows as `architecture+variant`. A setting
that a release refuses makes the row NOT_BUILT.
"""

from __future__ import annotations

from typing import Any

_ORIGINAL_LENGTH = 16  # positions that the rotary frequencies were made for: less than half of what is fed
_ENCODERS = (
    *("bert", "bert-generation", "big_bird", "camembert", "data2vec-text", "electra", "ernie", "megatron-bert"),
    *("rembert", "roberta", "roberta-prelayernorm", "roc_bert", "roformer", "xlm-roberta", "xlm-roberta-xl", "xmod"),
)

VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    # bidirectional unless configured as decoders
    **{name: {"is_decoder": {"is_decoder": True}} for name in _ENCODERS},
    "big_bird": {
        "is_decoder": {"is_decoder": True},
        "is_decoder-full": {"is_decoder": True, "attention_type": "original_full"},
    },
    "xlm": {"causal": {"causal": True}},
    "xlnet": {"attn_type": {"attn_type": "uni"}},
    "hrm_text": {"prefix_lm": {"prefix_lm": False}},
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
    # biases passed as a mask replace the causal one: huggingface/transformers#29946
    "falcon": {"alibi": {"alibi": True}},
}
