"""`impl="compiled"`: one graph that equals the reference; in a process without test hooks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hubrouter import ConfigError, HubRouter, RouterConfig

ROOT = Path(__file__).resolve().parents[3]
CODE = """
from dataclasses import replace
import torch
from cases import Case
CASE = Case(length=5, chunk=2, k=2, n_hubs=2, neighbours=1, impl="compiled")
for switches in ({}, {"council": "selected", "selection": "random", "readout": False, "adaptive_hubs": True}):
    case = replace(CASE, **switches)
    layer, x = case.build(), case.inputs().requires_grad_()
    results = []
    for layer.impl in ("reference", "compiled"):
        y = layer(x)
        gradients = torch.autograd.grad(y.square().sum(), (x, *layer.parameters()), allow_unused=True)
        results.append([y, *(gradient for gradient in gradients if gradient is not None)])
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
"""


def test_the_compiled_layer_equals_the_reference() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "leak_probes")])}
    done = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_compiled_layer_refuses_to_stream() -> None:
    layer = HubRouter(RouterConfig(d_model=8, impl="compiled"))
    with pytest.raises(ConfigError, match="impl='compiled' does not stream: take impl='reference' or 'triton'"):
        layer.stream(torch.zeros(1, 3, 8))


def test_an_unknown_implementation_is_refused() -> None:
    with pytest.raises(ConfigError, match="impl must be one of reference, compiled, triton, not 'cuda'"):
        RouterConfig(d_model=8, impl="cuda")
    layer = HubRouter(RouterConfig(d_model=8))
    with pytest.raises(ConfigError, match="impl must be one of"):
        layer.impl = "cuda"
    assert layer.impl == "reference"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (RouterConfig(d_model=64, chunk=129), "takes chunk up to 128, not 129"),
        (RouterConfig(d_model=64, n_hubs=65), "takes n_hubs up to 64, not 65"),
        (RouterConfig(d_model=2048, n_heads=8), "takes head_width up to 128, not 256"),
    ],
)
def test_sizes_that_the_kernels_do_not_support_are_refused(config: RouterConfig, message: str) -> None:
    layer = HubRouter(config)
    with pytest.raises(ConfigError, match=message):
        layer.impl = "triton"
    assert layer.impl == "reference"
