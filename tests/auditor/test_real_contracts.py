"""Architectures with several inputs, strides or caches, tiny and with random weights: recognised and judged rightly."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
import torch

os.environ["HF_HUB_OFFLINE"] = "1"
transformers: Any = pytest.importorskip("transformers")

from audits import Contract, SubjectError, audit  # noqa: E402 - only where transformers is installed
from audits.results import AuditResult, LeakClass, Verdict  # noqa: E402 - same

pytestmark = pytest.mark.filterwarnings("ignore")  # transformers' own

ATTENTION = {"encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
DECODER = {**ATTENTION, "d_model": 16, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}


def made(name: str, config: str, **options: Any) -> Any:
    torch.manual_seed(0)
    return getattr(transformers, name)(getattr(transformers, config)(**options)).eval()


def t5() -> Any:
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    return made("T5ForConditionalGeneration", "T5Config", vocab_size=60, decoder_start_token_id=0, **sizes)


def bart() -> Any:
    return made("BartForConditionalGeneration", "BartConfig", vocab_size=60, max_position_embeddings=64, **DECODER)


def whisper() -> Any:
    lengths = {"num_mel_bins": 8, "max_source_positions": 20, "max_target_positions": 64}
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
    return made("WhisperForConditionalGeneration", "WhisperConfig", vocab_size=60, **lengths, **ids, **DECODER)


def decision_transformer() -> Any:
    sizes = {"hidden_size": 16, "max_ep_len": 64, "n_layer": 1, "n_head": 2, "n_positions": 256}
    return made("DecisionTransformerModel", "DecisionTransformerConfig", state_dim=5, act_dim=3, **sizes)


def time_series_transformer() -> Any:
    window = {"prediction_length": 10, "context_length": 12, "lags_sequence": [1, 2, 3], "num_time_features": 2}
    return made("TimeSeriesTransformerForPrediction", "TimeSeriesTransformerConfig", **window, **DECODER)


def patch_tst() -> Any:
    window = {"num_input_channels": 2, "context_length": 32, "patch_length": 8, "prediction_length": 8}
    sizes = {"d_model": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "ffn_dim": 32}
    return made("PatchTSTForPrediction", "PatchTSTConfig", **window, **sizes)


def mimi() -> Any:
    sizes = {"num_filters": 4, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "sliding_window": 10, "max_position_embeddings": 100}
    codes = {"codebook_size": 16, "codebook_dim": 8, "num_quantizers": 2, "num_semantic_quantizers": 1}
    rates = {"sampling_rate": 200, "frame_rate": 12.5, "upsampling_ratios": [4, 2], "upsample_groups": 16}
    model = made("MimiModel", "MimiConfig", vector_quantization_hidden_dimension=8, **sizes, **heads, **codes, **rates)
    return with_codes(model)


def encodec(padding: str) -> Any:
    sizes = {"num_filters": 4, "num_residual_layers": 1, "hidden_size": 8, "num_lstm_layers": 1}
    codes = {"codebook_size": 16, "codebook_dim": 8, "target_bandwidths": [24.0], "upsampling_ratios": [4, 2]}
    return with_codes(made("EncodecModel", "EncodecConfig", normalize=False, pad_mode=padding, **sizes, **codes))


def with_codes(model: Any) -> Any:
    """A codec with random codebooks: as they are made they are all zero, and every frame has the same code."""
    for module in model.modules():
        if torch.is_tensor(getattr(module, "embed_sum", None)):
            torch.nn.init.normal_(module.embed_sum)
            module.cluster_usage.fill_(1)
        elif torch.is_tensor(getattr(module, "embed", None)):
            torch.nn.init.normal_(module.embed, std=0.06)  # about as large as what it quantises
    return model


def image_gpt() -> Any:
    sizes = {"n_positions": 64, "n_embd": 16, "n_layer": 1, "n_head": 2}
    return made("ImageGPTForCausalImageModeling", "ImageGPTConfig", vocab_size=33, **sizes)


def reasons(result: AuditResult) -> dict[str, str]:
    return {probe.name: probe.why for probe in result.probes if probe.verdict is not Verdict.PASS and probe.applicable}


RECOGNISED: dict[str, tuple[Callable[[], Any], dict[str, Any] | None, tuple[str, ...]]] = {
    "t5": (t5, {"inputs": {"input_ids": "free:tokens", "decoder_input_ids": "past:tokens"}}, ("decode", "padding")),
    "bart": (bart, {"inputs": {"input_ids": "free:tokens", "decoder_input_ids": "past:tokens"}}, ("decode", "padding")),
    "whisper": (
        whisper,
        {"inputs": {"input_features": "free:features:=8x40", "decoder_input_ids": "past:tokens"}},
        ("decode", "padding"),
    ),
    "decision transformer": (
        decision_transformer,
        {
            "inputs": {"states": "past", "actions": "before", "returns_to_go": "past", "timesteps": "held:positions"},
            "output": "action_preds",
        },
        (),
    ),
    "time series transformer": (
        time_series_transformer,
        {
            "inputs": {
                "past_values": "free:features:=15",
                "past_time_features": "free:features:=15x2",
                "past_observed_mask": "free:flags:=15",
                "future_values": "before:features",
                "future_time_features": "free:features:2",
            },
            "output": "params",
        },
        (),
    ),
    "image gpt": (image_gpt, None, ("decode",)),
}


@pytest.mark.parametrize("name", RECOGNISED)
def test_a_right_model_is_recognised_and_passes(name: str) -> None:
    build, contract, examined = RECOGNISED[name]
    result = audit(build(), seq_len=20)
    assert (result.verdict, reasons(result)) == (Verdict.PASS, {})
    assert result.settings["contract"] == contract
    assert {probe.name for probe in result.probes if probe.applicable} >= {"provenance", "gradient", *examined}


def test_a_codec_passes_frame_by_frame():
    result = audit(mimi(), seq_len=20)
    assert (result.verdict, reasons(result)) == (Verdict.PASS, {})
    assert result.settings["contract"] == {
        "hop": 16,
        "inputs": {"input_values": "past:features:1"},
        "output": "audio_values",
        "input_axis": 2,
        "output_axis": 2,
    }
    assert "provenance" in {probe.name for probe in result.probes if probe.applicable}


def test_a_codec_that_reflects_at_its_left_edge_sees_later_frames_there():
    assert audit(encodec("constant"), seq_len=20).verdict is Verdict.PASS
    leak = audit(encodec("reflect"), seq_len=20).findings[0]
    assert leak.argument == "input_values"
    assert leak.sink.position is not None
    assert leak.sink.position < 32  # the receptive field of the first frames


def test_a_forecaster_of_the_whole_horizon_has_nothing_that_could_leak():
    with pytest.raises(SubjectError, match=r"nothing could leak\. Audit its decoder or backbone, or say otherwise"):
        audit(patch_tst())


def test_mamba_is_right_but_for_pieces_after_a_state():
    torch.manual_seed(0)
    config = transformers.MambaConfig(vocab_size=60, hidden_size=16, num_hidden_layers=1, state_size=4)
    result = audit(transformers.MambaForCausalLM(config).eval(), seq_len=20)
    assert {finding.leak_class for finding in result.findings} <= {LeakClass.DECODE}
    assert list(reasons(result)) in ([], ["decode"])  # docs/findings/mamba-cached-pieces.md


def test_what_is_recognised_gives_way_to_what_the_user_says():
    told = Contract(inputs={"input_ids": "past:tokens", "decoder_input_ids": "free:tokens"})
    result = audit(t5(), seq_len=12, contract=told, probes=["perturbation"])
    assert result.verdict is Verdict.LEAK  # the encoder is bidirectional
    assert result.findings[0].argument == "input_ids"
