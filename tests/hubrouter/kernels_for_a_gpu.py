"""Run as a program: compiles every kernel that the layer launches for an H100, and needs no GPU for that.

Launches are replaced by compilation for the same arguments. Prints the largest shared memory and binary size of each
kernel as JSON.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

from hubrouter import HubRouter, RouterConfig

TARGET = GPUTarget("cuda", 90, 32)
POINTERS = {
    torch.float64: "*fp64",
    torch.float32: "*fp32",
    torch.bfloat16: "*bf16",
    torch.float16: "*fp16",
    torch.int64: "*i64",
    torch.uint8: "*u8",
}
OPTIONS = ("num_warps", "num_stages")
compiled: dict[str, dict[str, int]] = {}


def compile_instead(self: JITFunction[Any], *args: Any, grid: Any, warmup: bool = False, **kwargs: Any) -> None:
    given = dict(zip(self.arg_names, args, strict=False)) | kwargs
    options = {name: given.pop(name) for name in OPTIONS if name in given}
    constant = {p.name for p in self.params if p.is_constexpr}
    signature = {name: "constexpr" if name in constant else type_of(given[name]) for name in self.arg_names}
    constants = {(self.arg_names.index(name),): given[name] for name in constant}
    aligned = {(at,): [["tt.divisibility", 16]] for at, name in enumerate(self.arg_names) if signature[name][0] == "*"}
    kernel = triton.compile(ASTSource(self, signature, constants, aligned), target=TARGET, options=options)
    before = compiled.get(self.fn.__name__, {"shared": 0, "binary": 0})
    used = {"shared": kernel.metadata.shared, "binary": len(kernel.asm["cubin"])}
    compiled[self.fn.__name__] = {name: max(used[name], before[name]) for name in used}


def type_of(value: Any) -> str:
    return POINTERS[value.dtype] if isinstance(value, torch.Tensor) else "i32"


def main(width: int, heads: int, hubs: int, k: int, chunk: int, dtype: str) -> None:
    JITFunction.run = compile_instead  # type: ignore[method-assign]
    from hubrouter.kernels.route import route

    kind = getattr(torch, dtype)
    qkv = torch.zeros(1, 2 * chunk + 1, 3, heads, width // heads, dtype=kind, requires_grad=True)
    valid = torch.ones(1, 2 * chunk + 1, dtype=torch.bool)
    weights = (torch.zeros(heads, hubs, width // heads), torch.zeros(1, heads * hubs), torch.zeros(1))
    for causal in (False, True):
        mixed, *_ = route(qkv, *weights, valid, k, chunk, 1, 1e4, causal)
        mixed.sum().backward()
    step(RouterConfig(width, heads, hubs, k=k, chunk=chunk), kind)
    sys.stdout.write(json.dumps(compiled))


def step(config: RouterConfig, kind: torch.dtype) -> None:
    """One token after a whole chunk, through the stream."""
    layer, x = HubRouter(config).to(kind), torch.zeros(1, 1, config.d_model, dtype=kind)
    state = replace(layer.start(x), position=config.chunk)
    from hubrouter.kernels.stream import streamed

    streamed(layer, x, state)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:6]), sys.argv[6])
