"""Attention modules are replaced in place: which, by what, and starting from which weights."""

from __future__ import annotations

import dataclasses

import adapted_models as models
import pytest
import torch

from hubrouter import RouterConfig
from hubrouter.adapters import AdapterError, HubAttention, replace_attention

pytestmark = pytest.mark.filterwarnings("ignore")  # transformers' own


def places(model):
    return [n for n, module in model.named_modules() if isinstance(module, HubAttention)]


def test_a_jamba_becomes_a_hub_jamba():
    model = models.plain("jamba", num_hidden_layers=6)
    assert replace_attention(model) == (1, 4)
    assert places(model) == ["model.layers.1.self_attn", "model.layers.4.self_attn"]
    assert model.model.layers[4].self_attn.layer_idx == 4


def test_only_the_blocks_that_are_named_change():
    model = models.plain("llama")
    attention = model.model.layers[0].self_attn
    assert replace_attention(model, models.ROUTER, [1]) == (1,)
    assert places(model) == ["model.layers.1.self_attn"]
    assert model.model.layers[0].self_attn is attention


def test_the_layer_has_the_models_widths_base_dtype_and_mode():
    rope = {"rope_type": "default", "rope_theta": 77.0}
    model = models.plain("llama", rope_parameters=rope).to(torch.bfloat16).train()
    replace_attention(model)
    attention = model.model.layers[0].self_attn
    assert attention.router.config == RouterConfig(d_model=32, n_heads=4, rope_base=77.0)
    assert {p.dtype for p in attention.parameters()} == {torch.bfloat16}
    assert all(module.training for module in attention.modules())


@torch.no_grad()
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_projections_and_their_groups_of_heads_carry_over(groups):
    # With all tokens in one chunk, hubs of zero and open gates, the layer is plain attention: the model's own.
    model, ids = models.plain("llama", num_key_value_heads=groups), models.tokens()
    expected = model(ids).logits
    replace_attention(model, dataclasses.replace(models.ROUTER, chunk=16), from_projections=True)
    for block in model.model.layers:
        router = block.self_attn.router
        router.encode.hubs.zero_()
        router.score.head.weight.zero_()
        router.score.head.bias.fill_(100)
    torch.testing.assert_close(model(ids).logits, expected, rtol=0, atol=1e-4)  # their rotary angles are float32


@torch.no_grad()
def test_projections_of_jamba_carry_over():
    model = models.plain("jamba")
    before = model.model.layers[1].self_attn
    replace_attention(model, models.ROUTER, from_projections=True)
    router = model.model.layers[1].self_attn.router
    q, k, _ = router.project.weight.chunk(3)
    assert torch.equal(q, before.q_proj.weight)
    assert torch.equal(k[:8], before.k_proj.weight[:8])
    assert torch.equal(k[8:16], before.k_proj.weight[:8])  # two heads read each group
    assert torch.equal(router.output.weight, before.o_proj.weight)


REFUSED = [
    ({"layers": [0, 5]}, {}, r"blocks \[5\] have no attention"),
    ({"layers": []}, {}, "have no attention"),
    ({"router": RouterConfig(16)}, {}, "block 0 has width 32, and the router d_model=16"),
    ({"router": RouterConfig(32, n_heads=2), "from_projections": True}, {}, "number of heads"),
    ({"from_projections": True}, {"attention_bias": True}, r"has \['k_proj.bias'"),
    ({"from_projections": True}, {"head_dim": 16}, "number of heads"),
]


@pytest.mark.parametrize(("arguments", "options", "why"), REFUSED)
def test_what_does_not_fit_is_refused_and_leaves_the_model_unchanged(arguments, options, why):
    model = models.plain("llama", **options)
    with pytest.raises(AdapterError, match=why) as error:
        replace_attention(model, **arguments)
    assert "\n" not in str(error.value)
    assert places(model) == []


def test_a_model_without_such_blocks_is_refused():
    with pytest.raises(AdapterError, match=r"blocks that have: \[\]"):
        replace_attention(torch.nn.Linear(2, 2))


def test_a_layer_is_not_replaced_twice():
    model = models.adapted("llama")
    with pytest.raises(AdapterError, match=r"blocks that have: \[\]"):
        replace_attention(model)
