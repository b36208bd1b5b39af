"""The repository's models under the whole auditor, and the planted leaks of the hub layer, which it must detect."""

from __future__ import annotations

import pytest
import torch

from audits.auditor.audit import assert_causal, audit
from audits.leaks import PlantedLeak, all_leaks
from audits.leaks._hub import CONFIG, hub_gpt
from audits.results import LeakClass, Verdict
from hubrouter import ModelConfig, SequenceModel

HUB_LEAKS = [leak for leak in all_leaks() if leak.name.startswith("hub_")]
# The probe that is made for a class of leaks; running the others too would only take longer.
PROBE_FOR = {
    LeakClass.DENSE: "perturbation",
    LeakClass.SELECTION: "perturbation",
    LeakClass.STATISTIC: "perturbation",
    LeakClass.LENGTH: "prefix-length",
    LeakClass.STATE: "repeat-call",
}


@pytest.mark.parametrize("pattern", ["AA", "AHA", "MHAM"])
def test_a_model_of_this_repository_passes_every_probe(pattern: str) -> None:
    """The Transformer and hybrids, across several chunks; Hub-GPT alone is the clean control below."""
    torch.manual_seed(0)
    config = ModelConfig(32, pattern, d_model=16, n_heads=2, n_hubs=4, k=4, chunk=8, ssm_chunk=8)
    assert_causal(SequenceModel(config), seq_len=28)


def test_the_clean_control_of_the_hub_layer_passes() -> None:
    """All leaks of the hub layer share it."""
    assert_causal(hub_gpt(config=CONFIG), seq_len=28)


@pytest.mark.parametrize("leak", HUB_LEAKS, ids=lambda leak: leak.name)
def test_a_leaky_hub_layer_is_detected(leak: PlantedLeak) -> None:
    """By the probe that is made for its class of leaks."""
    result = audit(leak.leaky(), vocab_size=leak.vocab_size, seq_len=40, probes=[PROBE_FOR[leak.leak_class]])
    assert result.verdict is Verdict.LEAK
