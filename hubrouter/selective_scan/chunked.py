"""`chunked`: a loop over the positions within a chunk, for all chunks at once, and a parallel scan over chunk borders.

The number of kernels depends on the chunk size and on log(N / C), not on N. Only exp(delta a) with delta a <= 0 is ever
taken, so nothing overflows whatever delta is. Forward and backward are written by hand: an autograd graph of all steps
would keep six tensors of the size of all states; this keeps one, the states, and recomputes the decays.

Layout: chunks are rows, positions come first and channels last: [C, B * G, S, I]. A step is then one contiguous block.
"""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from hubrouter.borders import Affine, at_borders
from hubrouter.selective_scan.recurrence import ScanInputs, Scanned

LOG2_E = math.log2(math.e)


def chunked(inputs: ScanInputs, initial: Tensor, chunk: int) -> Scanned:
    """The scan in chunks of at most `chunk` tokens; not differentiable twice.

    The last chunk is padded with tokens of delta 0, which do not change the state.
    """
    batch, length, width = inputs.x.shape
    chunk = min(chunk, length)
    parts = (inputs.delta * inputs.x, inputs.delta, inputs.b, inputs.c)
    u, delta, b, c = (_rows(tensor, chunk) for tensor in parts)
    y, state = cast("Any", _Scan).apply(u, delta, inputs.a.mT.contiguous(), b, c, initial.mT.contiguous())
    y = y.view(chunk, batch, -1, width).permute(1, 2, 0, 3).reshape(batch, -1, width)
    return Scanned(y[:, :length], state.mT)


def _rows(tensor: Tensor, chunk: int) -> Tensor:
    """[B, N, X] to [C, B * G, X], with zeros after the last token."""
    batch, length, width = tensor.shape
    tensor = F.pad(tensor, (0, 0, 0, -length % chunk))
    return tensor.view(batch, -1, chunk, width).permute(2, 0, 1, 3).reshape(chunk, -1, width)


def _decays(delta: Tensor, a: Tensor) -> list[Tensor]:
    """exp(delta a) of each position in all chunks: [C, R, I], [S, I] -> C times [R, S, I]."""
    a2 = a * LOG2_E  # exp2 takes half the time of exp
    return [(column * a2).exp2_() for column in _columns(delta)]


def _whole(delta: Tensor, a: Tensor, batch: int) -> Tensor:
    """The decay over each whole chunk, [B, G, S, I]."""
    decay: Tensor = (delta.sum(0)[:, None, :] * a).exp().unflatten(0, (batch, -1))
    return decay


def _columns(tensor: Tensor) -> tuple[Tensor, ...]:
    """[C, R, I] -> C views [R, 1, I], at once: taking views one by one would cost as much as computing with them."""
    return tensor[:, :, None, :].unbind(0)


def _lines(tensor: Tensor) -> tuple[Tensor, ...]:
    """[C, R, S] -> C views [R, S, 1]."""
    return tensor[:, :, :, None].unbind(0)


class _Scan(torch.autograd.Function):
    """u = delta x, delta [C, R, I]; a [S, I]; b, c [C, R, S]; initial state [B, S, I]; rows R = B * G."""

    @staticmethod
    def forward(
        ctx: Any, u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, initial: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Outputs [C, R, I] and the last state [B, S, I]."""
        decays = _decays(delta, a)
        states = [_entering(u, delta, a, b, initial, decays)]
        for decay, entry, line in zip(decays, _columns(u), _lines(b), strict=True):
            states.append(decay.mul_(states[-1]).addcmul_(entry, line))
        outputs = [torch.bmm(read, state) for read, state in zip(_columns(c), states[1:], strict=True)]
        ctx.save_for_backward(u, delta, a, b, c, *states)
        return torch.stack(outputs)[:, :, 0], states[-1].unflatten(0, (len(initial), -1))[:, -1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_y: Tensor, d_last: Tensor) -> tuple[Tensor, ...]:
        """The recurrence of the gradients runs backwards through the same decays."""
        u, delta, a, b, c, *states = ctx.saved_tensors
        decays = _decays(delta, a)
        d_state = _leaving(d_y, delta, a, c, d_last, decays)
        d_u, d_delta, d_b, d_c = (torch.empty_like(tensor) for tensor in (u, delta, b, c))
        d_a, scratch = torch.zeros_like(d_state), torch.empty_like(d_state)
        inputs = (_columns(u), _columns(delta), _columns(b), _lines(c), _columns(d_y), decays, states, states[1:])
        gradients = (_columns(d_u), d_delta.unbind(0), d_b.unbind(0), d_c.unbind(0))
        steps = list(zip(*inputs, *gradients, strict=False))  # there is one more state than positions
        for u_t, delta_t, b_t, c_t, d_y_t, decay, before, after, d_u_t, d_delta_t, d_b_t, d_c_t in reversed(steps):
            d_state.addcmul_(d_y_t, c_t)
            # Elementwise products, then a sum: on a CPU several times faster than bmm with a vector.
            torch.sum(torch.mul(after, d_y_t, out=scratch), 2, out=d_c_t)
            torch.sum(torch.mul(d_state, u_t, out=scratch), 2, out=d_b_t)
            torch.bmm(b_t, d_state, out=d_u_t)
            d_exponent = torch.mul(before, d_state.mul_(decay), out=scratch)
            d_a.addcmul_(d_exponent, delta_t)
            torch.sum(d_exponent.mul_(a), 1, out=d_delta_t)
        return d_u, d_delta, d_a.sum(0), d_b, d_c, d_state.unflatten(0, (len(d_last), -1))[:, 0]


def _entering(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, initial: Tensor, decays: list[Tensor]) -> Tensor:
    """The states before each chunk, [R, S, I]: each chunk is first run from zero to compute what it adds."""
    if u.shape[1] == len(initial):
        return initial
    added = u.new_zeros(u.shape[1], *a.shape)
    for decay, entry, line in zip(decays, _columns(u), _lines(b), strict=True):
        added.mul_(decay).addcmul_(entry, line)
    maps = Affine(_whole(delta, a, len(initial)), added.unflatten(0, (len(initial), -1)))
    return at_borders(maps, initial)[:, :-1].flatten(0, 1)


def _leaving(d_y: Tensor, delta: Tensor, a: Tensor, c: Tensor, d_last: Tensor, decays: list[Tensor]) -> Tensor:
    """The gradients of the states after each chunk, from later chunks alone: [R, S, I]; may be overwritten."""
    if d_y.shape[1] == len(d_last):
        return d_last.clone(memory_format=torch.contiguous_format)
    added = d_y.new_zeros(d_y.shape[1], *a.shape)
    for decay, d_y_t, line in reversed(list(zip(decays, _columns(d_y), _lines(c), strict=True))):
        added.addcmul_(d_y_t, line).mul_(decay)
    maps = Affine(_whole(delta, a, len(d_last)), added.unflatten(0, (len(d_last), -1)))
    backwards = Affine._make(tensor.flip(1) for tensor in maps)
    return at_borders(backwards, d_last)[:, :-1].flip(1).flatten(0, 1)
