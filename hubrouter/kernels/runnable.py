"""Where the kernels can run: on a CUDA device, or in Triton's interpreter for tests. Anything else is an error."""

from __future__ import annotations

import importlib.util
import os

import torch
from torch import Tensor

from hubrouter.config import ConfigError, RouterConfig
from hubrouter.kernels.plan import padded

LARGEST = {"chunk": 128, "n_hubs": 64, "k": 1024, "head_width": 128}
FLOAT32 = 4096  # rows of hubs, and of a chunk, times head width: the largest that fits an H100 (`resources`)
ONE_TILE = 64  # selected tokens with which a chunk may have twice that
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
OTHERWISE = "; or take impl='reference'"


def interpreted() -> bool:
    """Whether Triton interprets kernels on the CPU: `TRITON_INTERPRET=1` was set before Python started."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def require_sizes(config: RouterConfig) -> None:
    """Raise ConfigError where the kernels do not support a configuration, or triton is not installed."""
    if importlib.util.find_spec("triton") is None:
        raise ConfigError("impl='triton' needs the package triton: install hubrouter-audit[kernels]" + OTHERWISE)
    for name, most in LARGEST.items():
        if getattr(config, name) > most:
            raise ConfigError(f"impl='triton' takes {name} up to {most}, not {getattr(config, name)}" + OTHERWISE)


def require_device(x: Tensor, config: RouterConfig) -> None:
    """Raise ConfigError where kernels cannot run on the tensor's device, in its dtype, or with these sizes in it."""
    if x.dtype not in DTYPES:
        raise ConfigError(f"impl='triton' takes {', '.join(str(d) for d in DTYPES)}, not {x.dtype}" + OTHERWISE)
    if x.device.type == "cpu" and interpreted():
        return
    if x.device.type != "cuda":
        raise ConfigError(
            f"impl='triton' needs a CUDA device, and this is on {x.device.type}: move model and tokens there, or set "
            "TRITON_INTERPRET=1 before Python starts, for small tests" + OTHERWISE
        )
    if x.dtype == torch.float64:
        raise ConfigError("impl='triton' takes float64 in Triton's interpreter only: use float32 on a GPU" + OTHERWISE)
    if x.dtype == torch.float32:
        _require_float32(config)


def _require_float32(config: RouterConfig) -> None:
    width = padded(config.head_width)
    for name, most in (("n_hubs", FLOAT32), ("chunk", FLOAT32 * (1 + (config.k <= ONE_TILE)))):
        if padded(getattr(config, name)) * width > most:
            raise ConfigError(
                f"impl='triton' in float32 takes {name} * head width up to {most} at k={config.k}, each filled up to a "
                "power of two: shared memory holds no more; use bfloat16" + OTHERWISE
            )
