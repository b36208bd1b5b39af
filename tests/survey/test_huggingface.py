"""`hf:NAME`: a model from a configuration, in full size or tiny, with the mechanisms that the configuration has."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from audits.__main__ import main
from audits.subject.settings import SubjectError
from audits.survey.huggingface import build_model

transformers = pytest.importorskip("transformers")

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 2048,
    "head_dim": 64,
    "num_attention_heads": 32,
    "num_hidden_layers": 16,
    "num_key_value_heads": 8,
    "quantization_config": {"quant_method": "awq", "bits": 4},
    "rope_scaling": {"rope_type": "dynamic", "factor": 4.0},
    "tie_word_embeddings": True,
    "vocab_size": 128256,
}
QWEN = {"model_type": "qwen2", "hidden_size": 896, "num_hidden_layers": 24, "use_sliding_window": False}


def folder(tmp_path: Path, config: dict[str, Any]) -> str:
    (tmp_path / "config.json").write_text(json.dumps(config))
    return str(tmp_path)


def test_a_shrunk_configuration_keeps_what_it_changes_of_its_default(tmp_path: Path) -> None:
    model: Any = build_model(folder(tmp_path, LLAMA), shrink=True)
    assert type(model) is transformers.LlamaForCausalLM
    assert sum(parameter.numel() for parameter in model.parameters()) < 100_000
    assert model.config.rope_parameters["rope_type"] == "dynamic"
    assert model.config.tie_word_embeddings
    assert not model.training


def test_a_configuration_is_not_given_the_mechanisms_that_the_survey_turns_on(tmp_path: Path) -> None:
    ours: Any = build_model(folder(tmp_path, QWEN), shrink=True)
    surveyed: Any = build_model("qwen2", shrink=True)
    assert set(ours.config.layer_types) == {"full_attention"}
    assert "sliding_attention" in surveyed.config.layer_types


@pytest.mark.parametrize("file", ["", "config.json"])
def test_without_shrink_the_sizes_are_the_configurations(tmp_path: Path, file: str) -> None:
    small = {"model_type": "gpt2", "n_embd": 24, "n_layer": 3, "n_head": 2, "vocab_size": 11, "n_positions": 32}
    path = Path(folder(tmp_path, small), file)
    first, second, other = (build_model(str(path), shrink=False, seed=seed) for seed in (1, 1, 2))
    assert first.config.n_layer == 3
    weights = [next(model.parameters()) for model in (first, second, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_lists_of_rotary_factors_are_cut_to_the_small_heads(tmp_path: Path) -> None:
    factors = {"rope_type": "longrope", "short_factor": [1.0] * 48, "long_factor": [2.0] * 48}
    sizes = {"hidden_size": 3072, "num_attention_heads": 32, "original_max_position_embeddings": 4096}
    model: Any = build_model(folder(tmp_path, {"model_type": "phi3", "rope_scaling": factors, **sizes}), shrink=True)
    assert model.config.rope_parameters["long_factor"] == [2.0] * 4


def test_an_encoder_decoder_is_built_as_what_it_is(tmp_path: Path) -> None:
    config = {"architectures": ["T5ForConditionalGeneration"], "model_type": "t5", "num_layers": 6}
    assert type(build_model(folder(tmp_path, config), shrink=True)) is transformers.T5ForConditionalGeneration


def test_a_model_too_large_for_an_audit_is_refused_before_it_is_built() -> None:
    with pytest.raises(SubjectError, match="give --shrink"):
        build_model("llama", shrink=False)


def error_of(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["model", *words]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_a_missing_transformers_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert error_of(capsys, "hf:gpt2", "--shrink").endswith('pip install "hubrouter-audit[survey]"\n')


def test_what_cannot_be_built_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "hf download nobody/nothing config.json" in error_of(capsys, "hf:nobody/nothing", "--shrink")
    foreign = folder(tmp_path, {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config"}})
    assert "custom code" in error_of(capsys, f"hf:{foreign}", "--shrink")
    assert "give 64 at most" in error_of(capsys, "hf:gpt2", "--shrink", "--seq-len", "65")
    assert "--shrink is for hf: targets" in error_of(capsys, "somewhere:model", "--shrink")


def test_the_command_audits_a_shrunk_model_and_its_findings_are_reproduced_by_their_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = tmp_path / "result.json"
    asked = ["hf:bert", "--shrink", "--seq-len", "16", "--probes", "provenance", "--json", str(written)]
    assert main(["model", *asked]) == 1
    finding = json.loads(written.read_text())["findings"][0]
    assert finding["reproduce"].startswith("hubrouter-audit model hf:bert --shrink ")
    capsys.readouterr()
    assert main([*finding["reproduce"].split()[1:], "--json", "-"]) == 1
    assert json.loads(capsys.readouterr().out)["findings"][0]["reproduce"] == finding["reproduce"]
