"""The layers that the bench compares: one entry each, at equal width and with the projections of their own design."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from audits.experiments.bench import _floor as floor
from audits.experiments.bench._ablations import ABLATIONS
from audits.experiments.bench._decode import (
    Decoder,
    cached,
    streamed,
    streamed_from_a_short_prefix,
    with_fla_cache,
)
from audits.experiments.bench._floor import Demand, Shape
from audits.experiments.bench._window import WindowAttention
from hubrouter import HubRouter, ModelConfig, RouterConfig
from hubrouter.config import IMPLS, SCANS, ConfigError
from hubrouter.mixers.attention import CausalAttention
from hubrouter.mixers.discover import builders
from hubrouter.mixers.mamba import Mamba

REFUSALS = (ConfigError, ImportError, RuntimeError)  # how a layer says that it cannot run here
BACKENDS = {  # those of torch that do not hold the whole matrix; the fastest one represents attention
    "flash": SDPBackend.FLASH_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
}
ON_CPU = ("flash",)
OWN = "AHM"  # the letters of mixers that have entries of their own
FAST_FIRST = ("matmul", "chunked", "fused", "unbind", "loop")  # the order in which Mamba's tiers get their time


@dataclass(frozen=True)
class Entry:
    """One subject.

    Attributes:
        layer: what it computes.
        impl: how; entries that agree in both are alternatives, of which the fastest counts.
        build: the module on the CPU, for tokens [B, N, D].
        demand: what the floor is computed from; None where only the projections' weights are counted.
        decode: how it decodes; None where it has no decode step.
        backend: which alternative.
        compiled: compiled for each length at its first call, so that short lengths foretell nothing.
        unrolled: its compiled graph grows with the length, and so does compiling.
        by_token: a loop over tokens, whose memory is read at a short length.
        within: what its steps are carried out in.
        refusals: errors by which it says that it cannot run; any other one is a defect and ends the run.
    """

    layer: str
    impl: str
    build: Callable[[], nn.Module]
    demand: Demand | None
    decode: Decoder | None = None
    backend: str = ""
    compiled: bool = False
    unrolled: bool = False
    by_token: bool = False
    within: Callable[[], AbstractContextManager[object]] = nullcontext
    refusals: tuple[type[Exception], ...] = REFUSALS

    @property
    def name(self) -> str:
        """Layer and implementation."""
        return f"{self.layer}/{self.impl}"


def entries(shape: Shape, device: str) -> tuple[Entry, ...]:
    """Every layer, in the order in which they get their time; a new one is one more line here.

    A new mixer of the project needs none: each letter without an entry of its own is one.
    """
    return (
        *_attention(shape, device),
        Entry("projections", "linear", lambda: Projections(shape.d_model), floor.projections(shape)),
        *_hubs(shape, device),
        Entry("sliding-window", "flex", _window(shape), floor.window(shape), compiled=True),
        *(_mamba(shape, scan) for scan in (*FAST_FIRST, *sorted(set(SCANS) - set(FAST_FIRST)))),
        *_mixers(shape),
        *_flash_linear_attention(shape, device),
    )


class Projections(nn.Module):
    """D to 3D and D to D: what attention and HubRouter have in common, so that the rest can be separated."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, 3 * width, bias=False)
        self.output = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, D] to [B, N, D]; values go on, queries and keys are made and not used."""
        output: Tensor = self.output(self.project(x)[..., 2 * x.shape[-1] :])
        return output


def _attention(shape: Shape, device: str) -> tuple[Entry, ...]:
    """Scaled dot-product attention through each backend that a device may have."""
    config = ModelConfig(2, "A", d_model=shape.d_model, n_heads=shape.n_heads)
    known = BACKENDS if device.startswith("cuda") else {name: BACKENDS[name] for name in ON_CPU}
    plain = Entry("attention", "sdpa", lambda: CausalAttention(config), floor.attention(shape), cached)
    return tuple(replace(plain, backend=name, within=partial(sdpa_kernel, kind)) for name, kind in known.items())


def _hubs(shape: Shape, device: str) -> tuple[Entry, ...]:
    """Every implementation; on a GPU the kernels come first, and their ablations before what compiles for long."""
    if not device.startswith("cuda"):
        return tuple(_hub(shape, impl) for impl in IMPLS)
    ablated = (_hub(shape, "triton", name, changed) for name, changed in ABLATIONS.items())
    return (_hub(shape, "triton"), _hub(shape, "reference"), *ablated, _hub(shape, "compiled"))


def _hub(shape: Shape, impl: str, name: str = "hub", changed: Mapping[str, Any] | None = None) -> Entry:
    """HubRouter by one of its implementations, with what an ablation changes."""
    sizes: dict[str, Any] = {"n_heads": shape.n_heads, "n_hubs": shape.n_hubs, "k": shape.k, "chunk": shape.chunk}
    config = RouterConfig(shape.d_model, **sizes, **(changed or {}), impl=impl)
    return Entry(
        name,
        impl,
        lambda: HubRouter(config),
        floor.hub(shape, config.council, readout=config.readout),
        streamed,
        compiled=impl != "reference",
        unrolled=impl == "compiled",
    )


def _mixers(shape: Shape) -> tuple[Entry, ...]:
    """The project's other mixers, called as their files; with a floor where its formula is simple."""
    found = {letter: build for letter, build in sorted(builders().items()) if letter not in OWN}
    sizes: dict[str, Any] = {"n_heads": shape.n_heads, "chunk": shape.chunk, "window": shape.window}
    demands = {
        "L": floor.prefix_sums(shape, shape.d_model // shape.n_heads),
        "P": floor.prefix_sums(shape, ModelConfig.features, directions=True),
        "W": floor.window(shape),
    }
    return tuple(
        Entry(
            build.__module__.rpartition(".")[2],
            "torch",
            partial(build, ModelConfig(2, letter, shape.d_model, **sizes)),
            demands.get(letter),
            streamed,
        )
        for letter, build in found.items()
    )


def _window(shape: Shape) -> Callable[[], nn.Module]:
    return lambda: WindowAttention(shape.d_model, shape.n_heads, shape.window)


def _mamba(shape: Shape, scan: str) -> Entry:
    """Mamba with one decay a head, which every tier of the scan can compute."""
    heads = max(1, 2 * shape.d_model // 64)
    config = ModelConfig(2, "M", d_model=shape.d_model, n_heads=shape.n_heads, ssm_heads=heads, scan=scan)
    demand = floor.mamba(shape, config.ssm_state, config.ssm_conv)
    by_token = scan in ("loop", "unbind")
    return Entry("mamba", scan, lambda: Mamba(config), demand, streamed_from_a_short_prefix, by_token=by_token)


def _flash_linear_attention(shape: Shape, device: str) -> tuple[Entry, ...]:
    """Layers of flash-linear-attention at our width; what else it is about them is its default."""
    width, heads = shape.d_model, max(1, shape.d_model // 64)
    common: dict[str, Any] = {"hidden_size": width, "layer_idx": 0}
    known = (
        ("nsa", "nsa.NativeSparseAttention", {"num_heads": heads, "num_kv_heads": max(1, heads // 16)}),
        ("moba", "moba.MobaAttention", {"num_heads": heads}),
        ("gated-deltanet", "gated_deltanet.GatedDeltaNet", {"num_heads": max(1, 3 * width // 1024)}),
        ("mamba2", "mamba2.Mamba2", {"num_heads": 2 * heads, "head_dim": 64}),
    )
    # Others' kernels fail in ways of their own, and none of that may take our layers' times along.
    return tuple(
        Entry(name, "fla", partial(_fla, kind, {**common, **own}, device), None, with_fla_cache, "", compiled=True,
              refusals=(Exception,))
        for name, kind, own in known
    )  # fmt: skip


def _fla(kind: str, options: dict[str, Any], device: str) -> nn.Module:
    """A layer of flash-linear-attention, whose three results become one.

    Raises:
        ConfigError: no CUDA device, or the layer would fall back to slow code in silence.
        ImportError: it is not installed, or its release lacks the layer.
    """
    if not device.startswith("cuda"):
        raise ConfigError("flash-linear-attention needs a CUDA device")
    module, _, name = kind.partition(".")
    found = importlib.import_module(f"fla.layers.{module}")
    if not getattr(found, "is_fast_path_available", True):
        raise ConfigError(f"{name} of flash-linear-attention needs mamba-ssm, else it takes its slow path in silence")
    layer: nn.Module = getattr(found, name)(**options)
    return layer
