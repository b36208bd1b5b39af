"""Models that make an audit hard: noise of every source, precisions refused, modes, rows and devices demanded.

Each takes `leak`: how much of the reversed sequence it adds, 0 for a causal model.
"""

from __future__ import annotations

import os
import random
import threading
import time
import warnings

import numpy as np
import torch
import torch.nn.functional as F
from auditor_models import WIDTH, Attention
from torch import Tensor, nn

OUTSIDE = random.Random(0)  # what no snapshot reaches
OUTSIDE_NUMPY = np.random.default_rng(0)


class Odd(nn.Module):
    def __init__(self, leak: float = 0.0) -> None:
        super().__init__()
        self.attention, self.leak = Attention(), leak

    def forward(self, x: Tensor) -> Tensor:
        return self.odd(self.attention(x), x) + self.leak * x.flip(1)

    def odd(self, y: Tensor, x: Tensor) -> Tensor:
        raise NotImplementedError


# -- noise ---------------------------------------------------------------------------------------------------------


class DropoutModuleOn(Odd):
    """A dropout module that switches itself on."""

    def __init__(self, leak: float = 0.0) -> None:
        super().__init__(leak)
        self.dropout = nn.Dropout(0.3)

    def odd(self, y: Tensor, x: Tensor) -> Tensor:
        return self.dropout.train()(y)


class FunctionalDropout(Odd):
    def odd(self, y: Tensor, x: Tensor) -> Tensor:
        return F.dropout(y, 0.3, training=True)


class OwnTorchGenerator(Odd):
    def __init__(self, leak: float = 0.0) -> None:
        super().__init__(leak)
        self.generator = torch.Generator().manual_seed(1)

    def odd(self, y: Tensor, x: Tensor) -> Tensor:
        return y + 0.01 * torch.randn(y.shape, generator=self.generator).to(y)


class GlobalNumpy(Odd):
    def odd(self, y: Tensor, x: Tensor) -> Tensor:
        return y + 0.01 * float(np.random.standard_normal())  # noqa: NPY002 - what models use


class NumpyOutside(Odd):
    def odd(self, y: Tensor, x: Tensor) -> Tensor:
        return y + 0.01 * torch.from_numpy(OUTSIDE_NUMPY.normal(size=tuple(y.shape))).to(y)


class SystemNoise(Odd):
    def odd(self, y: Tensor, x: Tensor) -> Tensor:
        return y + 1e-4 * int.from_bytes(os.urandom(2), "big") / 2**16


class Drifting(Odd):
    def odd(self, y: Tensor, x: Tensor) -> Tensor:
        return y + 0.1 * time.perf_counter()


class NowAndThen(Odd):
    """Noise that strikes in few calls, so that equal calls often agree."""

    chance = 0.1

    def odd(self, y: Tensor, x: Tensor) -> Tensor:
        return y + 0.01 if OUTSIDE.random() < self.chance else y


class EveryThirdOrSo(NowAndThen):
    chance = 0.3


class NowAndThenInTraining(NowAndThen):
    def odd(self, y: Tensor, x: Tensor) -> Tensor:
        return super().odd(y, x) if self.training else y


# -- precision -----------------------------------------------------------------------------------------------------


class RefusesDouble(Odd):
    def odd(self, y: Tensor, x: Tensor) -> Tensor:
        if x.dtype == torch.float64:
            raise TypeError("no float64 here")
        return y


class OnlyBfloat16(Odd):
    def odd(self, y: Tensor, x: Tensor) -> Tensor:
        if x.dtype != torch.bfloat16:
            raise TypeError("bfloat16 only")
        return y


class HalfInside(Odd):
    def odd(self, y: Tensor, x: Tensor) -> Tensor:
        return y.half().to(x.dtype)


class HalfLayer(Odd):
    """Mixes dtypes on purpose: cast to any single one it does not run."""

    def __init__(self, leak: float = 0.0) -> None:
        super().__init__(leak)
        self.linear = nn.Linear(WIDTH, WIDTH).half()

    def odd(self, y: Tensor, x: Tensor) -> Tensor:
        return self.linear(y.half()).to(x.dtype)


class Autocast(Odd):
    def odd(self, y: Tensor, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.attention(x).to(x.dtype)


class _SingleDouble(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        if x.dtype != torch.float32:
            raise RuntimeError("expected scalar type Float but found Double")
        return 2 * x

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> Tensor:
        return 2 * grad


class CustomFunctionInFloat32(Odd):
    def odd(self, y: Tensor, x: Tensor) -> Tensor:
        return _SingleDouble.apply(y)


class _ForwardOnly(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> Tensor:
        raise NotImplementedError("no backward")


class CustomFunctionWithoutBackward(Odd):
    def odd(self, y: Tensor, x: Tensor) -> Tensor:
        return _ForwardOnly.apply(y)


# -- modes, rows, side effects -------------------------------------------------------------------------------------


class InferenceOnly(Odd):
    def odd(self, y: Tensor, x: Tensor) -> Tensor:
        if self.training:
            raise RuntimeError("for inference only")
        return y


class InferenceOnlyInDouble(Odd):
    """Can be called in training mode, but not in float64; there it forgets its mask."""

    def odd(self, y: Tensor, x: Tensor) -> Tensor:
        if self.training and x.dtype == torch.float64:
            raise RuntimeError("train in float32")
        return y + x.flip(1) if self.training else y


class OneRowOnly(Odd):
    def odd(self, y: Tensor, x: Tensor) -> Tensor:
        if len(x) > 1:
            raise ValueError("one row at a time")
        return y


class Chatty(Odd):
    """Prints, warns, starts threads and sleeps."""

    def odd(self, y: Tensor, x: Tensor) -> Tensor:
        print("called")  # noqa: T201 - what it is for
        warnings.warn("deprecated", stacklevel=2)
        thread = threading.Thread(target=time.sleep, args=(0.001,))
        thread.start()
        thread.join()
        return y


class Unlucky(Odd):
    """Raises on some inputs."""

    def odd(self, y: Tensor, x: Tensor) -> Tensor:
        if int((x[0, :, 0] > 0).sum()) % 3 == 0:
            raise RuntimeError("unlucky input")
        return y


class NeedsGpu(Odd):
    def odd(self, y: Tensor, x: Tensor) -> Tensor:
        if not x.is_cuda:
            raise RuntimeError("CUDA required")
        return y


class MovesToGpu(Odd):
    def odd(self, y: Tensor, x: Tensor) -> Tensor:
        return y.cuda()
