"""Architectures that people use, tiny and with random weights: causal ones pass, bidirectional ones leak."""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch

os.environ["HF_HUB_OFFLINE"] = "1"
transformers: Any = pytest.importorskip("transformers")

from audits import audit  # noqa: E402 - only where transformers is installed
from audits.results import LeakClass, Verdict  # noqa: E402 - same

HEADS = {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 32, "intermediate_size": 48}
GROUPED = {**HEADS, "num_key_value_heads": 2}
CAUSAL: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128},
    "llama": GROUPED,
    "mistral": {**GROUPED, "sliding_window": 8},
    "gemma2": {**GROUPED, "head_dim": 8, "sliding_window": 8},
    "mixtral": {**GROUPED, "num_local_experts": 4},
    "mamba2": {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8, "num_heads": 8, "head_dim": 8, "n_groups": 1,
               "chunk_size": 8},
}  # fmt: skip


def build(name: str, options: dict[str, Any]) -> Any:
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(name, vocab_size=48, bos_token_id=1, eos_token_id=2, **options)
    return transformers.AutoModelForCausalLM.from_config(config)


@pytest.mark.filterwarnings("ignore")  # transformers' own
@pytest.mark.parametrize("name", CAUSAL)
def test_a_causal_architecture_passes(name):
    result = audit(build(name, CAUSAL[name]), seq_len=24)
    assert result.verdict is Verdict.PASS, [(p.name, p.why) for p in result.probes]


@pytest.mark.filterwarnings("ignore")  # transformers' own
def test_bert_sees_the_future_in_its_first_attention():
    result = audit(build("bert", HEADS), seq_len=24)
    assert result.verdict is Verdict.LEAK
    assert result.findings[0].leak_class is LeakClass.DENSE
    assert result.findings[0].module == "bert.encoder.layer.0.attention.self"
    assert result.findings[0].op is not None
    assert result.findings[0].file.endswith("sdpa_attention.py")
