"""Products of half precision that are computed in float32: the same numbers, dtypes, operations and derivatives."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audits.subject.half_products import HALF, HalfProducts
from audits.subject.operations import operations

Call = Callable[[Tensor], Tensor]


def attention(x: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(x[:, None], x[:, None], x[:, None], is_causal=True)[:, 0]


def calls(dtype: torch.dtype) -> dict[str, Call]:
    torch.manual_seed(0)
    conv, linear = nn.Conv1d(8, 8, 3, padding=1).to(dtype), nn.Linear(8, 8).to(dtype)
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True).to(dtype).eval()
    return {
        "attention": attention,
        "bmm": lambda x: x @ x.mT,
        "convolution": lambda x: conv(x.mT).mT,
        "encoder layer": layer,
        "linear": linear,
        "mv": lambda x: x @ x[0, 0],
    }


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("name", sorted(calls(torch.bfloat16)))
@torch.no_grad()
def test_a_product_is_that_of_float32_rounded(name: str, dtype: torch.dtype) -> None:
    call = calls(dtype)[name]
    x = torch.randn(2, 6, 8).to(dtype)
    usual = call(x)
    with HalfProducts():
        found = call(x)
    assert found.dtype == dtype
    assert float((found - usual).abs().max()) <= 4 * torch.finfo(dtype).eps * float(usual.abs().max())


def test_other_dtypes_and_operations_are_left_alone() -> None:
    x = torch.randn(2, 6, 8)
    with HalfProducts():
        assert torch.equal(x @ x.mT, x @ x.mT)
        assert torch.equal(x.half().softmax(-1), x.half().softmax(-1))


@pytest.mark.parametrize("name", ["attention", "convolution", "linear"])
def test_the_operations_of_a_call_and_its_derivatives_stay(name: str) -> None:
    call = calls(torch.bfloat16)[name]
    x = torch.randn(2, 6, 8).bfloat16().requires_grad_()
    usual = operations(lambda: call(x))
    (derivative,) = torch.autograd.grad(call(x).float().sum(), x)

    def under_mode() -> Tensor:
        with HalfProducts():
            return call(x)

    assert operations(under_mode) == usual
    (found,) = torch.autograd.grad(under_mode().float().sum(), x)
    assert torch.allclose(found.float(), derivative.float(), rtol=0.05, atol=0.05)
