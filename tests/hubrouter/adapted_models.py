"""Tiny Llama and Jamba models with random weights and HubRouter layers in place of their attention."""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch

from hubrouter import RouterConfig
from hubrouter.adapters import replace_attention

os.environ["HF_HUB_OFFLINE"] = "1"
transformers: Any = pytest.importorskip("transformers", minversion="5.0")

SMALL = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2,
         "vocab_size": 48, "bos_token_id": 1, "eos_token_id": None, "pad_token_id": 0}  # fmt: skip
OPTIONS: dict[str, dict[str, Any]] = {
    "llama": {**SMALL, "num_hidden_layers": 2},
    # Blocks of Mamba, attention with experts, Mamba; experts in plain torch, which float64 needs.
    "jamba": {**SMALL, "num_hidden_layers": 3, "attn_layer_period": 3, "attn_layer_offset": 1, "num_experts": 2,
              "mamba_d_state": 4, "mamba_dt_rank": 4, "experts_implementation": "eager"},
}  # fmt: skip
NAMES = tuple(OPTIONS)
ROUTER = RouterConfig(d_model=32, n_heads=4, n_hubs=3, k=3, chunk=4)


def plain(name: str, **options: Any) -> Any:
    """The real model, in float64 and evaluation mode; weights of order one, so that tokens matter."""
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(name, **{**OPTIONS[name], "initializer_range": 0.3, **options})
    return transformers.AutoModelForCausalLM.from_config(config).double().eval()


def adapted(name: str, router: RouterConfig = ROUTER, **options: Any) -> Any:
    """The same with every attention replaced."""
    model = plain(name, **options)
    replace_attention(model, router)
    return model


def tokens(rows: int = 3, length: int = 11, seed: int = 0) -> torch.Tensor:
    """Random tokens, none of them padding."""
    return torch.randint(3, 48, (rows, length), generator=torch.Generator().manual_seed(seed))
