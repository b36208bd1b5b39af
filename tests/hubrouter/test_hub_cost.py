"""What the layer costs: floating-point operations, numbers written, and what is kept for the backward pass."""

from __future__ import annotations

import pytest
import torch
from hub_layers import Size, build, draw
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from hubrouter import HubRouter, ModelConfig, RouterConfig
from hubrouter.mixers.attention import CausalAttention

CONFIGS = [
    RouterConfig(32, n_heads=4, n_hubs=8, k=16, chunk=16),
    RouterConfig(24, n_heads=2, n_hubs=3, k=5, chunk=8, neighbours=0),
    RouterConfig(8, n_heads=1, n_hubs=1, k=1, chunk=4, neighbours=2),
]


def flops(layer, n, d):
    with FlopCounterMode(display=False) as counter:
        layer.to("meta")(torch.empty(1, n, d, device="meta"))
    return counter.get_total_flops()


def formula(c, n):
    """Projections, hubs (encode and decode), score head, council."""
    d = c.d_model
    return 8 * n * d**2 + 8 * n * c.n_hubs * d + 2 * n * c.n_heads * c.n_hubs + 4 * n * d * (c.k + c.chunk)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("chunks", [1, 2, 7, 64])
def test_the_counted_operations_are_those_of_the_formula(config, chunks):
    n = chunks * config.chunk
    assert flops(HubRouter(config), n, config.d_model) == formula(config, n)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_operations_are_exactly_linear_in_the_number_of_tokens(config):
    layer = HubRouter(config)
    assert flops(layer, 4096, config.d_model) == 64 * flops(layer, 64, config.d_model)


class Written(TorchDispatchMode):
    """Counts the numbers that all operations write: sorts, gathers and masks too, which have no multiplications.

    A view writes none, however long it is.
    """

    def __init__(self):
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        outputs = output if isinstance(output, (tuple, list)) else (output,)
        self.total += sum(t.numel() for t in outputs if isinstance(t, Tensor) and not func.is_view)
        return output


def written(run, n, d):
    with Written() as count:
        run(torch.empty(1, n, d, device="meta"))
    return count.total


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("n", [256, 512, 8192])  # in one piece up to 1024 tokens, then in several
def test_twice_the_tokens_write_twice_the_numbers_selection_included(config, n):
    layer = HubRouter(config).to("meta")
    ratio = written(layer, 2 * n, config.d_model) / written(layer, n, config.d_model)
    assert 1.9 < ratio < 2.02  # the rounds of a scan are uneven by an entry or two


def test_the_count_of_written_numbers_shows_a_quadratic_layer():
    attention = CausalAttention(ModelConfig(8, d_model=8, n_heads=2)).to("meta")
    assert written(attention.stream, 4096, 8) / written(attention.stream, 2048, 8) > 3


def kept(n, size):
    """Numbers saved for the backward pass, each storage once; parameters are not counted."""
    layer, x = build(size), draw(size, length=n)
    own = {p.untyped_storage().data_ptr() for p in layer.parameters()}
    sizes = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = layer(x.requires_grad_())
    assert output.requires_grad
    return sum(sizes.values())


def test_twice_the_tokens_keep_twice_the_memory_for_the_backward_pass():
    size = Size(1, batch=1)
    small, large = kept(512, size), kept(1024, size)
    assert 1.9 < large / small < 2.05


@torch.no_grad()
def test_a_decoded_token_costs_the_same_at_every_position():
    size = Size(1, chunk=8, batch=1)
    layer = build(size)
    counted = []
    for length in (8, 800):
        _, state = layer.stream(draw(size, length=length))
        with FlopCounterMode(display=False) as counter, Written() as count:
            layer.stream(draw(size, length=1), state)
        counted.append((counter.get_total_flops(), count.total))
    assert counted[0] == counted[1]
