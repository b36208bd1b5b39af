"""Kernels in processes without test hooks: compile for a GPU, be one graph, refuse in one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hubrouter import ConfigError, RouterConfig
from hubrouter.kernels.runnable import require_device

HERE = Path(__file__).parents[1]
SHARED_MEMORY = 227 * 1024  # bytes that a program may have on an H100

# Width, heads, hubs, k, chunk and dtype, and the bytes a thread may spill (stores and loads) in kernels that spill any,
# with the triton of constraints.txt.
MOST_SPILLED = {
    "1024 16 8 64 64 bfloat16": {},
    "1024 16 8 64 64 float32": {"attend": 376, "attend_backward": 5528, "attend_step": 1036},
    "1024 8 64 128 128 bfloat16": {
        "attend": 40,
        "attend_backward": 2676,
        "encode_backward": 296,
        "attend_step": 4100,
    },
    "512 8 64 64 128 float32": {  # the largest that float32 may have
        "summarise_segments": 1396,
        "attend": 1364,
        "attend_backward": 7518,
        "decode_backward": 2264,
        "encode_backward": 4584,
        "attend_step": 3848,
    },
    "192 2 3 5 20 float16": {"attend": 688, "attend_backward": 1236, "encode_backward": 152, "attend_step": 8},
}

USED = """
import json, sys
from hubrouter.kernels.resources import size_of, used
print(json.dumps({name: use._asdict() for name, use in used(size_of(sys.argv[1:])).items()}))
"""

IN_TORCH = """
import torch
from hub_layers import Size, build, draw
from hubrouter.kernels.route import route
size = Size(9, batch=1)
layer, x = build(size), draw(size)
expected = layer(x)
layer.impl = "triton"
config, head = layer.config, layer.score.head
qkv = torch.randn(1, 9, 3, config.n_heads, config.head_width, requires_grad=True)
weights = [w.detach().float().requires_grad_() for w in (layer.encode.hubs, head.weight, head.bias)]
torch.library.opcheck(route, (qkv, *weights, None, config.k, config.chunk, config.neighbours, config.rope_base, True))
compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
assert torch.equal(compiled(x), layer(x))
compiled(x).sum().backward()
assert (compiled(x) - expected).abs().max() < 1e-12
"""


def run(*arguments: str, interpret: bool) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), str(HERE)])}
    environment.pop("TRITON_INTERPRET", None)
    if interpret:
        environment["TRITON_INTERPRET"] = "1"
    return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("size", MOST_SPILLED, ids=str)
def test_every_kernel_compiles_for_an_h100_and_fits_it(size: str) -> None:
    done = run("-c", USED, *size.split(), interpret=False)
    assert done.returncode == 0, done.stderr[-2000:]
    kernels = json.loads(done.stdout)
    assert len(kernels) == 16
    assert {name: use for name, use in kernels.items() if use["shared"] > SHARED_MEMORY} == {}
    most = MOST_SPILLED[size]
    spilled = {name: use["spill_stores"] + use["spill_loads"] for name, use in kernels.items()}
    assert {name: count for name, count in spilled.items() if count > most.get(name, 0)} == {}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"n_hubs": 64, "d_model": 1024, "n_heads": 8}, r"n_hubs \* head width up to 4096 at k=16"),
        ({"chunk": 128, "d_model": 512, "n_heads": 4}, r"chunk \* head width up to 8192 at k=16"),
        ({"chunk": 128, "k": 65, "d_model": 512}, r"chunk \* head width up to 4096 at k=65"),
    ],
)
def test_float32_is_refused_where_shared_memory_is_too_small(
    config: dict[str, int], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    x = torch.zeros(1, 1, config["d_model"])
    monkeypatch.setattr(torch.Tensor, "device", torch.device("cuda"))
    with pytest.raises(ConfigError, match=message):
        require_device(x, RouterConfig(**{"n_heads": 8, **config}))


def test_torch_compiles_the_operator_as_one() -> None:
    done = run("-c", IN_TORCH, interpret=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_without_a_gpu_and_an_interpreter_the_error_names_the_remedy() -> None:
    code = (
        "import torch; from hubrouter import HubRouter, RouterConfig\n"
        "HubRouter(RouterConfig(d_model=64, impl='triton'))(torch.zeros(1, 4, 64))"
    )
    done = run("-c", code, interpret=False)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("hubrouter.config.ConfigError: impl='triton' needs a CUDA device, and this is on cpu")
    assert "TRITON_INTERPRET=1" in last
