"""Where two calls part: the operation whose inputs agree and whose results do not, whatever cannot be compared."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import nn

from audits.instruments.divergence import OperationLog, divergence


def logged(function, x):
    log = OperationLog(SimpleNamespace(module=None, parts={}))
    with log:
        function(x)
    return log.operations


def parts(function, one, two, sizes=lambda _: None):
    found = divergence(logged(function, one), logged(function, two), sizes)
    return None if found is None else found.op


prefix = {(8, 5): (slice(5), slice(None), True)}.get


def test_calls_that_agree_part_nowhere():
    x = torch.randn(1, 8, 4)
    assert parts(lambda t: t.cumsum(1).exp(), x, x[:, :5], prefix) is None


def test_the_first_of_several_operations_that_differ_is_named():
    x = torch.randn(1, 8, 4)
    x[:, -1] = x.amax(1) + 1  # beyond the prefix
    assert parts(lambda t: (t - t.amax(1, keepdim=True)).exp().sin(), x, x[:, :5], prefix) == "amax"


def test_a_difference_that_has_no_effect_is_not_named():
    def function(t):
        t.mean()  # of other lengths, and not used
        return t.exp() / t.shape[1]

    x = torch.randn(1, 8, 4)
    assert parts(function, x, x[:, :5], prefix) == "div"


def test_what_cannot_be_compared_is_walked_through():
    def function(t):
        scale = torch.full((), float(t.shape[1]))
        return (t.unflatten(1, (-1, 1)).flip(1) * scale).flip(1).flatten(1, 2) * 1

    x = torch.randn(1, 8, 4)
    assert parts(lambda t: function(t).contiguous(), x, x[:, :5], prefix) in {"full", "mul"}


def test_a_written_buffer_is_what_the_next_call_parts_by():
    buffer = torch.zeros(4)

    def function(t):
        y = t * 2 + buffer
        buffer.add_(1.0)
        return y

    x = torch.randn(1, 8, 4)
    assert parts(function, x, x) == "add"


def test_modules_are_named_from_inside_torch_too():
    module = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4))
    log = OperationLog(SimpleNamespace(module=module, parts=dict(module.named_modules())))
    x = torch.randn(1, 8, 4)
    with log:
        module(x)
    assert [each.module for each in log.operations if not each.moves] == ["0", "1"]
