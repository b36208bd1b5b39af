"""What every kernel takes of an H100: registers, bytes spilled to local memory, shared memory.

    python -m hubrouter.kernels.resources            # a table for the sizes in `SIZES`
    python -m hubrouter.kernels.resources 1024 16 8 64 64 bfloat16

Kernels are compiled, not run, so no GPU is needed: Linux and triton 3.4 or newer, whose package contains ptxas. The
arguments are width, heads, hubs, k, chunk and dtype.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

from hubrouter.config import RouterConfig
from hubrouter.kernels.plan import SPAN
from hubrouter.kernels.runnable import interpreted
from hubrouter.router import HubRouter

TARGET = GPUTarget("cuda", 90, 32)
POINTERS = {
    torch.float64: "*fp64",
    torch.float32: "*fp32",
    torch.bfloat16: "*bf16",
    torch.float16: "*fp16",
    torch.int64: "*i64",
    torch.int32: "*i32",
    torch.uint8: "*u8",
    torch.bool: "*u8",
}
OPTIONS = ("num_warps", "num_stages")
PTXAS = ("-v", "-lineinfo", "--regAllocOptLevel=2", "--gpu-name=sm_90a")  # as triton calls it


class Size(NamedTuple):
    """A layer: width D, heads, hubs, selected tokens, chunk and the name of its dtype."""

    width: int
    heads: int
    hubs: int
    k: int
    chunk: int
    dtype: str


SIZES = (
    Size(1024, 16, 8, 64, 64, "bfloat16"),
    Size(1024, 16, 8, 64, 64, "float32"),
    Size(1024, 16, 64, 64, 64, "bfloat16"),
    Size(1024, 8, 64, 128, 128, "bfloat16"),
    Size(512, 8, 64, 64, 128, "float32"),  # the largest that float32 may have
    Size(192, 2, 3, 5, 20, "float16"),
)


def size_of(words: Sequence[str]) -> Size:
    """The size that six words name."""
    width, heads, hubs, k, chunk = map(int, words[:5])
    return Size(width, heads, hubs, k, chunk, words[5])


class Use(NamedTuple):
    """What one program of a kernel takes: warps, registers a thread, bytes a thread spills, bytes of shared memory."""

    warps: int
    registers: int
    spill_stores: int
    spill_loads: int
    shared: int


def used(size: Size) -> dict[str, Use]:
    """The largest use of every kernel that a layer of this size launches, forward, backward and in a stream.

    Raises:
        RuntimeError: Triton interprets kernels in this process, so none can be compiled.
        TypeError: a kernel would be compiled anew for another length, because a number that is no constant is not named
            in its `do_not_specialize`.
    """
    if interpreted():
        raise RuntimeError("kernels cannot be compiled with TRITON_INTERPRET=1: unset it")
    found: dict[str, Use] = {}

    def compile_instead(kernel: JITFunction[Any], *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> None:  # noqa: ARG001
        name, use = kernel.fn.__name__, _compiled(kernel, args, kwargs)
        found[name] = Use._make(map(max, use, found.get(name, use)))

    launch, JITFunction.run = JITFunction.run, compile_instead
    try:
        _launch_all(size)
    finally:
        JITFunction.run = launch
    return found


def _launch_all(size: Size) -> None:
    from hubrouter.kernels.route import route
    from hubrouter.kernels.stream import streamed

    width, heads, hubs, k, chunk, dtype = size
    kind, length, each = getattr(torch, dtype), SPAN**2 * chunk + 1, width // heads  # two blocks
    qkv = torch.zeros(1, length, 3, heads, each, dtype=kind, requires_grad=True)
    weights = (torch.zeros(heads, hubs, each), torch.zeros(1, heads * hubs), torch.zeros(1))
    for causal in (False, True):
        mixed, *_ = route(qkv, *weights, torch.ones(1, length, dtype=torch.bool), k, chunk, 1, 1e4, causal)
        mixed.sum().backward()
    layer = HubRouter(RouterConfig(width, heads, hubs, k=k, chunk=chunk)).to(kind)
    for tokens in (1, chunk - 1):
        x = torch.zeros(1, tokens, width, dtype=kind)
        streamed(layer, x, replace(layer.start(x), position=chunk))


def _compiled(kernel: JITFunction[Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Use:
    given = dict(zip(kernel.arg_names, args, strict=False)) | kwargs
    options = {name: given.pop(name) for name in OPTIONS if name in given}
    for parameter in kernel.params:
        if isinstance(given[parameter.name], int) and not (parameter.is_constexpr or parameter.do_not_specialize):
            raise TypeError(f"{kernel.fn.__name__} would be compiled anew for another {parameter.name}")
    constant = {p.name for p in kernel.params if p.is_constexpr}
    signature = {name: "constexpr" if name in constant else _type_of(given[name]) for name in kernel.arg_names}
    constants = {(kernel.arg_names.index(name),): given[name] for name in constant}
    aligned = {
        (at,): [["tt.divisibility", 16]] for at, name in enumerate(kernel.arg_names) if signature[name][0] == "*"
    }
    binary = triton.compile(ASTSource(kernel, signature, constants, aligned), target=TARGET, options=options)
    return Use(binary.metadata.num_warps, *_allocated(binary.asm["ptx"]), binary.metadata.shared)


def _type_of(value: Any) -> str:
    return POINTERS[value.dtype] if isinstance(value, torch.Tensor) else "i32"


def _allocated(ptx: str) -> tuple[int, int, int]:
    """Registers and bytes of spill stores and loads, as ptxas reports them for the options that triton gives it."""
    command = [triton.knobs.nvidia.ptxas.path, *PTXAS, "/dev/stdin", "-o", "/dev/null"]
    report = subprocess.run(command, input=ptx, capture_output=True, text=True, check=True).stderr  # noqa: S603 - of triton's own package
    patterns = (r"Used (\d+) registers", r"(\d+) bytes spill stores", r"(\d+) bytes spill loads")
    registers, stores, loads = (int(found[1]) for found in (re.search(p, report) for p in patterns) if found)
    return registers, stores, loads


def table(size: Size) -> str:
    """The figures of one size as a table of Markdown."""
    head = (
        f"E = {size.width // size.heads}, M = {size.hubs}, K = {size.k}, C = {size.chunk}, {size.dtype}\n\n"
        "| kernel | warps | registers | spilled, stores + loads | shared memory, KiB |\n|---|---|---|---|---|\n"
    )
    rows = [
        f"| `{name}` | {warps} | {registers} | {stores} + {loads} | {shared / 1024:.1f} |"
        for name, (warps, registers, stores, loads, shared) in used(size).items()
    ]
    return head + "\n".join(rows) + "\n"


def main(arguments: list[str]) -> None:
    """Print the table of the size that the arguments name, or of all."""
    sizes = [size_of(arguments)] if arguments else SIZES
    sys.stdout.write("\n".join(map(table, sizes)))


if __name__ == "__main__":
    main(sys.argv[1:])
