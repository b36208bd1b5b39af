"""The auditor on Llama and Jamba with HubRouter inside: causal layers pass, bidirectional ones leak."""

from __future__ import annotations

import dataclasses

import adapted_models as models
import pytest

from audits import audit
from audits.results import LeakClass, Verdict

pytestmark = pytest.mark.filterwarnings("ignore")  # transformers' own
each_model = pytest.mark.parametrize("name", models.NAMES)


@each_model
def test_the_auditor_passes_a_causal_model(name):
    # transformers' own Mamba discards its state when more than one token follows, so Jamba is not tested in decoding.
    probes = ["gradient", "prefix-length", *(["decode"] if name == "llama" else [])]
    result = audit(models.adapted(name), seq_len=8, probes=probes)
    assert result.verdict is Verdict.PASS, [(p.name, p.why) for p in result.probes]


@each_model
def test_the_auditor_finds_the_leak_of_a_bidirectional_layer(name):
    model = models.adapted(name, dataclasses.replace(models.ROUTER, causal=False))
    result = audit(model, seq_len=8, probes=["gradient"])
    assert result.verdict is Verdict.LEAK
    assert result.findings[0].leak_class is LeakClass.DENSE
