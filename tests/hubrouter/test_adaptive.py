"""Gates on hubs: what is closed is not read, closing pays, and pruning changes nothing."""

from __future__ import annotations

import copy

import pytest
import torch
from hub_layers import Size, build, draw

from hubrouter import ConfigError, HubRouter, ModelConfig, RouterConfig, SequenceModel
from hubrouter.adaptive import hub_counts, open_hubs, prune_hubs

GATED = Size(14, chunk=3, k=4, n_hubs=6, adaptive_hubs=True)


def test_gates_are_open_at_first_and_then_change_nothing() -> None:
    gated, plain = HubRouter(RouterConfig(8, adaptive_hubs=True)), HubRouter(RouterConfig(8))
    plain.load_state_dict({name: part for name, part in gated.state_dict().items() if "gates" not in name})
    x = torch.randn(2, 40, 8, generator=torch.Generator().manual_seed(0))
    assert open_hubs(gated).item() == 8
    torch.testing.assert_close(gated(x), plain(x), rtol=0, atol=1e-6)


def test_a_closed_hub_is_not_read_and_gets_no_gradient() -> None:
    layer, x = build(GATED), draw(GATED)
    closed = layer.gates.gates() == 0
    assert closed.tolist() == [True, False, False, False, False, False]
    before = layer(x)
    before.square().sum().backward()
    assert not layer.encode.hubs.grad[:, closed].any()
    assert layer.encode.hubs.grad[:, ~closed].any(-1).all()
    assert not layer.gates.level.grad[closed].any()
    assert layer.gates.level.grad[~closed].all()
    with torch.no_grad():
        layer.encode.hubs[:, closed] = 1e3
    assert torch.equal(layer(x), before)


@pytest.mark.parametrize("closed", [[2], [1, 2, 3, 4]])
@pytest.mark.parametrize("causal", [True, False])
def test_a_pruned_layer_computes_the_same(causal: bool, closed: list[int]) -> None:
    size = Size(14, chunk=3, k=4, n_hubs=6, adaptive_hubs=True, causal=causal)
    layer, x = build(size), draw(size)
    with torch.no_grad():
        layer.gates.level[closed] = -3  # of six the first is closed as well
    before = layer(x)
    prune_hubs(layer)
    assert layer.config.n_hubs == layer.encode.hubs.shape[1] == 5 - len(closed)
    torch.testing.assert_close(layer(x), before, rtol=0, atol=1e-12)
    assert layer.state_dict().keys() == build(size).state_dict().keys()


def test_a_price_closes_hubs_and_one_stays_open() -> None:
    torch.manual_seed(0)
    model = SequenceModel(ModelConfig(vocab_size=16, pattern="HH", d_model=16, n_heads=2, adaptive_hubs=True, chunk=4))
    tokens = torch.randint(16, (8, 32))
    price = 0.0

    def steps(count: int) -> None:
        optimiser = torch.optim.AdamW(model.parameters(), lr=2e-2, weight_decay=0.0)
        for _ in range(count):
            optimiser.zero_grad()
            logits = model(tokens)
            loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
            (loss + price * open_hubs(model)).backward()
            optimiser.step()

    steps(10)
    assert hub_counts(model) == (8, 8)  # nothing closes without a price
    price = 10.0
    steps(60)
    assert hub_counts(model) == (1, 1)
    smaller = copy.deepcopy(model)
    prune_hubs(smaller)
    assert [block.mixer.config.n_hubs for block in smaller.blocks] == [1, 1]
    torch.testing.assert_close(smaller(tokens), model(tokens), rtol=0, atol=1e-4)


@pytest.mark.parametrize("ask", [open_hubs, hub_counts, prune_hubs])
def test_a_model_without_gates_is_an_error(ask) -> None:
    with pytest.raises(ConfigError, match="no layer has gates on its hubs: build the model with adaptive_hubs=True"):
        ask(HubRouter(RouterConfig(8)))
