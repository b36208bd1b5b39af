"""The systems of the paper as layer patterns."""

from __future__ import annotations

import pytest

from hubrouter import ConfigError
from hubrouter.patterns import graduated, hub_gpt, hub_jamba, jamba, transformer


def test_a_transformer_and_a_hub_gpt_have_one_kind_of_layer():
    assert transformer(12) == "A" * 12
    assert hub_gpt(3) == "HHH"


@pytest.mark.parametrize(
    ("layers", "period", "offset", "pattern"),
    [(8, 8, 4, "MMMMAMMM"), (6, 2, 1, "MAMAMA"), (4, 1, 0, "AAAA"), (5, 3, 0, "AMMAM"), (1, 4, 0, "A")],
)
def test_jamba_has_attention_where_hugging_face_puts_it(layers, period, offset, pattern):
    assert jamba(layers, period, offset) == pattern
    assert hub_jamba(layers, period, offset) == pattern.replace("A", "H")


@pytest.mark.parametrize("period", [1, 2, 3, 8])
def test_the_convention_is_that_of_transformers(period):
    transformers = pytest.importorskip("transformers")
    for offset in range(period):
        config = transformers.JambaConfig(num_hidden_layers=16, attn_layer_period=period, attn_layer_offset=offset)
        letters = {"attention": "A", "full_attention": "A", "mamba": "M", "linear_attention": "M"}
        kinds = getattr(config, "layers_block_type", None) or config.layer_types
        assert jamba(16, period, offset) == "".join(letters[kind] for kind in kinds)


def test_the_defaults_are_jambas():
    assert jamba(16) == jamba(16, 8, 4)
    assert hub_jamba(16) == hub_jamba(16, 8, 4)


@pytest.mark.parametrize(
    ("layers", "share", "pattern"),
    [
        (12, 0.0, "AAAAAAAAAAAA"),
        (12, 0.25, "AAAHAAAHAAAH"),
        (12, 0.5, "AHAHAHAHAHAH"),
        (12, 0.75, "AHHHAHHHAHHH"),
        (12, 1.0, "HHHHHHHHHHHH"),
        (4, 0.25, "AAAH"),
        (4, 0.75, "AHHH"),
        (10, 0.3, "AAAHAAHAAH"),
        (3, 1 / 3, "AAH"),
    ],
)
def test_graduated_replacement_spreads_evenly_and_ends_with_the_last_layer(layers, share, pattern):
    assert graduated(layers, share) == pattern


@pytest.mark.parametrize("layers", range(1, 25))
def test_the_share_is_met_exactly(layers):
    for replaced in range(layers + 1):
        assert graduated(layers, replaced / layers).count("H") == replaced


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: graduated(6, 0.25), "share=0.25 of 6 layers is 1.5: choose one that makes whole layers"),
        (lambda: graduated(4, 1.25), "share=1.25 must be from 0 to 1"),
        (lambda: graduated(4, -0.25), "share=-0.25 must be from 0 to 1"),
        (lambda: graduated(4, float("nan")), "share=nan must be from 0 to 1"),
        (lambda: graduated(0, 0.5), "layers must be at least 1, not 0"),
        (lambda: transformer(0), "layers must be at least 1, not 0"),
        (lambda: hub_gpt(-1), "layers must be at least 1, not -1"),
        (lambda: jamba(0, 2, 1), "layers must be at least 1, not 0"),
        (lambda: jamba(8, 4, 4), "offset=4 must be at least 0 and below period=4"),
        (lambda: jamba(8, 4, -1), "offset=-1 must be at least 0 and below period=4"),
        (lambda: jamba(8, 0, 0), "offset=0 must be at least 0 and below period=0"),
        (lambda: hub_jamba(4), "offset=4 is beyond the last of 4 layers: no layer would be attention"),
    ],
)
def test_a_pattern_that_cannot_be_built_is_refused_with_a_reason(call, message):
    with pytest.raises(ConfigError) as caught:
        call()
    assert str(caught.value) == message
