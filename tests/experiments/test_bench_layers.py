"""The layers of the bench: their floors are those of their definitions, their decode steps are their own streams."""

from __future__ import annotations

import sys
import types
import warnings
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from audits.experiments.bench import _decode as decode
from audits.experiments.bench import _floor as floor
from audits.experiments.bench import _layers as layers
from audits.experiments.bench._ablations import ABLATIONS
from audits.experiments.bench._floor import Demand, Shape, Work, work
from audits.experiments.bench._steps import Workshop
from audits.experiments.bench._window import WindowAttention
from hubrouter import HubRouter, ModelConfig, RouterConfig
from hubrouter.config import SCANS, ConfigError
from hubrouter.mixers.attention import CausalAttention
from hubrouter.mixers.discover import builders
from hubrouter.mixers.mamba import Mamba
from hubrouter.rotary import rotate, rotation

SHAPE = Shape(16, 2, 3, 5, 8, 2, "float32")


def entry(name: str, device: str = "cpu") -> layers.Entry:
    return next(entry for entry in layers.entries(SHAPE, device) if entry.name == name)


@pytest.mark.parametrize("name", ["hub", *ABLATIONS])
def test_the_floors_operations_are_those_that_torch_counts_in_the_hub_layer(name: str) -> None:
    found = entry(f"{name}/triton", "cuda")
    layer: Any = found.build().to("meta")
    layer.impl = "reference"
    with FlopCounterMode(display=False) as counter:
        layer(torch.empty(SHAPE.batch, 64, 16, device="meta"))
    assert found.demand is not None
    assert work(found.demand, SHAPE, 64, "forward").flops == counter.get_total_flops()


def test_the_floors_of_attention_are_those_of_the_formula() -> None:
    d, n, rows = 16, 64, 2
    forward = work(floor.attention(SHAPE), SHAPE, n, "forward")
    assert forward.flops == rows * (8 * n * d * d + 2 * n * n * d)
    assert forward.bytes == 4 * (rows * 10 * n * d + 4 * d * d)
    assert forward.core_bytes == 4 * rows * 4 * n * d
    both = work(floor.attention(SHAPE), SHAPE, n, "forward+backward")
    assert both.flops == 3 * forward.flops
    assert both.bytes == 4 * (rows * 25 * n * d + 3 * 4 * d * d)
    step = work(floor.attention(SHAPE), SHAPE, n, "decode")
    assert step.flops == rows * (8 * d * d + 4 * n * d)
    assert step.bytes == 4 * (4 * d * d + rows * (10 * d + 2 * n * d))


def test_the_full_layer_is_as_much_cheaper_as_the_formula_says() -> None:
    shape, n = Shape(256, 4, 8, 64, 64, 2, "float32"), 8192
    ratio = work(floor.hub(shape), shape, n, "forward").flops / work(floor.attention(shape), shape, n, "forward").flops
    heads = 2 * 4 * 8 / 256  # of the score head, which the short formula leaves out
    assert ratio == pytest.approx((8 * 256 + 8 * 8 + heads + 4 * (64 + 64)) / (8 * 256 + 2 * n))


def test_a_decoded_token_costs_the_hub_layer_the_same_at_any_position_and_attention_not() -> None:
    hub, attention = (
        [work(demand(SHAPE), SHAPE, n, "decode") for n in (64, 65536)] for demand in (floor.hub, floor.attention)
    )
    assert hub[0] == hub[1]
    assert attention[1].flops > 50 * attention[0].flops


def test_a_window_as_long_as_the_sequence_is_attention() -> None:
    n = SHAPE.window
    exact = 2.0 * n * (n + 1) * SHAPE.d_model  # attention's 2 n^2 d leaves the diagonal's half out
    assert floor.window(SHAPE).mixing(n) == exact
    assert floor.window(SHAPE).mixing(n - 3) == 2.0 * (n - 3) * (n - 2) * SHAPE.d_model
    assert floor.window(SHAPE).mixing(n + 1) == exact + 4 * SHAPE.d_model * n


def test_the_floor_is_set_by_the_slower_of_operations_and_traffic() -> None:
    assert Work(100.0, 10.0).seconds(10.0, 10.0) == 10.0
    assert Work(100.0, 10.0).seconds(1000.0, 1.0) == 10.0
    assert Work(50.0, 10.0).seconds(10.0, 10.0) == 5.0


def test_mambas_matrices_are_those_of_the_layer() -> None:
    shape = Shape(64, 4, 8, 64, 64, 1, "float32")
    module = Mamba(ModelConfig(2, "M", d_model=64, ssm_heads=2))
    weights = sum(p.numel() for name, p in module.named_parameters() if name.endswith("proj.weight"))
    small = module.dt_proj.weight.numel()  # one step size a head: left out of the floor
    assert floor.mamba(shape, 16, 4).weights == weights - small


def test_every_layer_that_is_asked_for_is_an_entry() -> None:
    names = {entry.name for entry in layers.entries(SHAPE, "cuda")}
    assert names >= {"attention/sdpa", "sliding-window/flex", *(f"hub/{impl}" for impl in layers.IMPLS)}
    assert names >= {f"mamba/{scan}" for scan in SCANS}
    assert names >= {f"{name}/triton" for name in ABLATIONS}
    assert names >= {f"{name}/torch" for name in ("window", "linear", "performer", "rwkv", "s4d", "compressed")}
    assert names >= {"nsa/fla", "moba/fla", "gated-deltanet/fla", "mamba2/fla"}
    assert [e.backend for e in layers.entries(SHAPE, "cuda") if e.layer == "attention"] == list(layers.BACKENDS)
    assert [e.backend for e in layers.entries(SHAPE, "cpu") if e.layer == "attention"] == ["flash"]


def test_every_implementation_of_the_hub_layer_is_built_as_itself() -> None:
    found = [entry for entry in layers.entries(SHAPE, "cpu") if entry.layer == "hub"]
    assert [(e.name, e.compiled) for e in found] == [
        ("hub/reference", False),
        ("hub/compiled", True),
        ("hub/triton", True),
    ]
    assert [e.build().config.impl for e in found] == ["reference", "compiled", "triton"]  # type: ignore[union-attr]


def test_the_window_is_attention_under_its_mask() -> None:
    n, window = 200, 40
    layer, x = WindowAttention(16, 2, window, compiled=False), torch.randn(2, n, 16)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.compile is recommended once a process
        output = layer(x)
    q, k, v = layer.project(x).reshape(2, n, 3, 2, -1).unbind(2)
    place = torch.arange(n)
    angles = rotation(place, 8, 1e4, q.dtype)
    q, k, v = (part.transpose(1, 2) for part in (rotate(q, angles), rotate(k, angles), v))
    mask = (place[:, None] >= place) & (place[:, None] - place < window)
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    assert torch.allclose(output, layer.output(mixed.transpose(1, 2).flatten(2)), atol=1e-5)
    with pytest.raises(ConfigError, match="no backward pass on a CPU"):
        layer(x)


@torch.no_grad()
@pytest.mark.parametrize(
    ("layer", "decoder", "prefix"),
    [
        (HubRouter(RouterConfig(16, 2, 3, 5, 8)), decode.streamed, 21),
        (Mamba(ModelConfig(2, "M", d_model=16, ssm_heads=1)), decode.streamed_from_a_short_prefix, 21),
        (CausalAttention(ModelConfig(2, "A", d_model=16, n_heads=2)), decode.cached, 0),
    ],
    ids=["hub", "mamba", "attention"],
)
def test_a_decode_step_gives_what_one_pass_over_everything_gives(
    layer: nn.Module, decoder: decode.Decoder, prefix: int
) -> None:
    x = torch.randn(2, prefix + 9, 16)
    decoded = decoder(layer, x[:, :prefix])
    first, again = decoded(x[:, prefix:]), decoded(x[:, prefix:])
    assert torch.equal(first, again)  # each step starts from the same state
    assert torch.allclose(first, layer(x)[:, -1:], atol=1e-5)


def test_a_step_of_each_pass_runs_and_leaves_no_gradient_behind() -> None:
    for passes in floor.PASSES:
        workshop, hub = Workshop(SHAPE, passes, "cpu"), entry("hub/reference")
        step = workshop.step(hub, 24)
        assert step.seconds() > 0
        assert step.peak() > 0
        assert step.tokens == (decode.TOKENS if passes == "decode" else 1)
        assert all(p.grad is None for p in workshop.module(hub).parameters())


def test_all_layers_of_a_run_read_the_same_tokens_and_have_their_weights_from_one_seed() -> None:
    first, second = Workshop(SHAPE, "forward", "cpu"), Workshop(SHAPE, "forward", "cpu")
    assert torch.equal(first.tokens(8, 0), second.tokens(8, 0))
    a, b = (shop.module(entry("hub/reference")).state_dict() for shop in (first, second))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_layer_without_a_decode_step_says_so() -> None:
    with pytest.raises(ConfigError, match="has no decode step here"):
        Workshop(SHAPE, "decode", "cpu").step(entry("sliding-window/flex"), 24)


def test_a_new_mixer_of_the_project_is_an_entry_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(config: ModelConfig) -> nn.Module:
        return CausalAttention(config)

    build.__module__ = "hubrouter.mixers.newest"
    monkeypatch.setattr(layers, "builders", lambda: {**builders(), "Z": build})
    found = entry("newest/torch")
    for passes in floor.PASSES:
        assert Workshop(SHAPE, passes, "cpu").step(found, 24).seconds() > 0
    assert "hub/torch" not in {entry.name for entry in layers.entries(SHAPE, "cpu")}


def test_foreign_layers_want_a_gpu_and_their_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fla", None)
    with pytest.raises(ConfigError, match="needs a CUDA device"):
        entry("nsa/fla").build()
    with pytest.raises(ImportError):
        entry("nsa/fla", "cuda").build()


class Foreign(nn.Module):
    """As a layer of flash-linear-attention: options, three results, a cache that it changes."""

    def __init__(self, hidden_size: int, layer_idx: int, num_heads: int, head_dim: int = 8) -> None:
        super().__init__()
        self.project = nn.Linear(hidden_size, hidden_size)
        self.options = (layer_idx, num_heads, head_dim)

    def forward(self, x: torch.Tensor, past_key_values: Any = None, use_cache: bool = False) -> tuple[Any, None, Any]:
        if use_cache:
            past_key_values.seen += x.shape[1]
        return self.project(x), None, past_key_values


@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A stand-in for the library."""
    made = {name: types.ModuleType(name) for name in ("fla", "fla.layers", "fla.layers.mamba2", "fla.models.utils")}
    made["fla.layers.mamba2"].Mamba2 = Foreign  # type: ignore[attr-defined]
    made["fla.models.utils"].Cache = type("Cache", (), {"seen": 0})  # type: ignore[attr-defined]
    for name, module in made.items():
        monkeypatch.setitem(sys.modules, name, module)
    return made["fla.layers.mamba2"]


def test_a_foreign_layer_is_measured_like_ours(foreign: types.ModuleType) -> None:
    found = entry("mamba2/fla", "cuda")
    for passes in floor.PASSES:
        assert Workshop(SHAPE, passes, "cpu").step(found, 24).seconds() > 0


def test_a_foreign_layer_that_would_take_its_slow_path_in_silence_is_refused(foreign: types.ModuleType) -> None:
    foreign.is_fast_path_available = False  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="slow path"):
        entry("mamba2/fla", "cuda").build()


@pytest.mark.parametrize("name", ["linear", "performer", "rwkv", "s4d", "compressed", "window"])
def test_the_projects_other_mixers_are_measured_in_every_pass(name: str) -> None:
    found = entry(f"{name}/torch")
    for passes in floor.PASSES:
        assert Workshop(SHAPE, passes, "cpu").step(found, 24).seconds() > 0
    with FlopCounterMode(display=False) as counter:
        found.build()(torch.randn(SHAPE.batch, 64, 16))
    if (
        found.demand is not None and name != "window"
    ):  # torch counts all of a window's blocks, or nothing of a fused kernel
        assert work(found.demand, SHAPE, 64, "forward").flops < counter.get_total_flops()
    assert (found.demand is None) == (name in ("rwkv", "s4d", "compressed"))


def test_what_a_backward_pass_adds_is_counted_once_for_each_tensor() -> None:
    plain = Demand(weights=7, inner=3, gathered=2)
    assert work(plain, SHAPE, 10, "forward").bytes == 4 * (2 * 10 * (2 * 16 + 2 * 3 + 2) + 7)
    assert work(plain, SHAPE, 10, "forward+backward").bytes == 4 * (2 * 10 * (5 * 16 + 5 * 3 + 3 * 2) + 3 * 7)
