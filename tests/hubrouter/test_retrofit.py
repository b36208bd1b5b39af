"""Retrofit and the penalty on hubs."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hubrouter import ConfigError, HubRouter, ModelConfig, SequenceModel
from hubrouter.mixers.attention import CausalAttention
from hubrouter.orthogonality import hub_orthogonality
from hubrouter.retrofit import retrofit


def build(pattern="AMAH", **changes):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return SequenceModel(ModelConfig(11, pattern, d_model=8, n_heads=2, n_hubs=3, k=3, chunk=4, **changes))


def seeded(run, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return run()


def test_attention_becomes_hubrouter_and_nothing_else_changes():
    model = build()
    adopted = retrofit(model)
    assert adopted.config.pattern == "HMHH"
    assert [type(b.mixer) for b in adopted.blocks] == [HubRouter, type(model.blocks[1].mixer), HubRouter, HubRouter]
    new, old = adopted.state_dict(), model.state_dict()
    assert all(torch.equal(new[name], old[name]) for name in old)
    fresh = {f"blocks.{layer}.mixer.{name}" for layer in (0, 2) for name in ("encode.hubs", "score.head.weight")}
    assert set(new) - set(old) == fresh | {f"blocks.{layer}.mixer.score.head.bias" for layer in (0, 2)}
    assert adopted(torch.zeros(1, 9, dtype=torch.long)).isfinite().all()


def test_the_trained_model_is_unchanged_and_shares_nothing():
    model = build()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    adopted = retrofit(model)
    with torch.no_grad():
        for parameter in adopted.parameters():
            parameter.fill_(7)
    assert model.config.pattern == "AMAH"
    assert isinstance(model.blocks[0].mixer, CausalAttention)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


def test_hubs_are_drawn_from_the_global_generator():
    model = build("AA")
    one, same, other = (seeded(lambda: retrofit(model), seed).blocks[0].mixer.encode.hubs for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("causal", [True, False])
def test_the_hubs_follow_the_models_configuration_dtype_and_mode(causal):
    model = build("AA", causal=causal).double().eval()
    model.blocks[1].mixer.train()
    model.blocks[0].mixer.project.requires_grad_(False)
    adopted = retrofit(model)
    assert adopted.blocks[0].mixer.config == model.config.router()
    assert {p.dtype for p in adopted.parameters()} == {torch.float64}
    assert [block.mixer.score.training for block in adopted.blocks] == [False, True]
    assert not adopted.blocks[0].mixer.project.weight.requires_grad
    assert adopted.blocks[0].mixer.encode.hubs.requires_grad


def test_a_retrofitted_model_can_be_trained():
    adopted = retrofit(build("AA"))
    adopted(torch.arange(9)[None]).square().sum().backward()
    assert all(p.grad is not None for p in adopted.parameters())


def test_there_must_be_attention_to_replace():
    with pytest.raises(ConfigError, match=r"^pattern 'HM' has no attention layer \('A'\) to replace$"):
        retrofit(build("HM"))


def test_another_kind_of_attention_is_refused():
    model = SequenceModel(ModelConfig(11, "A", d_model=8, n_heads=2), {"A": lambda _: nn.Identity()})
    with pytest.raises(ConfigError, match=r"^only CausalAttention can be retrofitted, not Identity$"):
        retrofit(model)


def with_hubs(*rows, pattern="H"):
    """A model whose every head holds these hubs."""
    hubs = torch.tensor(rows, dtype=torch.float64)
    model = SequenceModel(ModelConfig(11, pattern, d_model=2 * hubs.shape[1], n_heads=2, n_hubs=len(rows))).double()
    for block in model.blocks:
        block.mixer.encode.hubs.data = hubs.expand(2, -1, -1).clone()
    return model


@pytest.mark.parametrize(
    ("rows", "penalty"),
    [
        (([1.0, 0.0], [0.0, 5.0]), 0.0),
        (([1.0, 1.0], [3.0, 3.0]), 1.0),
        (([1.0, 1.0], [-3.0, -3.0]), 1.0),
        (([1.0, 0.0], [1.0, 1.0]), 0.5),
        (([1.0, 0.0], [0.0, 1.0], [0.0, -2.0]), 1 / 3),
        (([3.0, 4.0],), 0.0),
    ],
)
def test_the_penalty_is_the_mean_square_of_the_cosines(rows, penalty):
    for pattern in ("H", "HH"):
        assert hub_orthogonality(with_hubs(*rows, pattern=pattern)).item() == pytest.approx(penalty, abs=1e-12)


def test_following_its_gradient_makes_hubs_orthogonal():
    model = build("HH", ssm_state=3)
    before = hub_orthogonality(model).item()
    optimizer = torch.optim.Adam([b.mixer.encode.hubs for b in model.blocks], lr=0.05)
    for _ in range(100):
        optimizer.zero_grad()
        penalty = hub_orthogonality(model)
        penalty.backward()
        optimizer.step()
    assert penalty.item() < 1e-3 < before


def test_a_hub_of_length_zero_and_a_single_hub_have_finite_gradients():
    for model in (with_hubs([0.0, 0.0], [1.0, 1.0]), with_hubs([1.0, 2.0])):
        hub_orthogonality(model).backward()
        assert model.blocks[0].mixer.encode.hubs.grad.isfinite().all()


def test_the_penalty_needs_hubs():
    with pytest.raises(ConfigError, match=r"^the model has no HubRouter layer, so no hubs to keep apart$"):
        hub_orthogonality(build("AM"))
