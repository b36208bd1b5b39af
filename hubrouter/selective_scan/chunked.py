"""`chunked`: a loop over the places within a chunk, all chunks at once, and a parallel scan over the chunks' borders.

The number of kernels depends on the chunk size and on log(N / C), not on N. Only exp(delta a) with delta a <= 0 is ever
taken, so nothing overflows whatever delta is. Forward and backward are written out: a graph of all steps would keep six
tensors of the size of all states; this keeps one, the states themselves, and computes the decays again.

Layout: chunks are rows, places come first and channels last: [C, B * G, S, I]. A step is then one contiguous block.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from hubrouter.scan import inclusive_scan
from hubrouter.selective_scan.recurrence import ScanInputs, Scanned

LOG2_E = math.log2(math.e)


def chunked(inputs: ScanInputs, initial: Tensor, chunk: int) -> Scanned:
    """The scan in chunks of at most `chunk` tokens; not differentiable twice.

    The last chunk is filled up with tokens of delta 0, which leave the state as it is.
    """
    batch, length, width = inputs.x.shape
    chunk = min(chunk, length)
    parts = (inputs.delta * inputs.x, inputs.delta, inputs.b, inputs.c)
    u, delta, b, c = (_rows(tensor, chunk) for tensor in parts)
    y, state = _Scan.apply(u, delta, inputs.a.mT.contiguous(), b, c, initial.mT.contiguous())
    y = y.view(chunk, batch, -1, width).permute(1, 2, 0, 3).reshape(batch, -1, width)
    return Scanned(y[:, :length], state.mT)


def _rows(tensor: Tensor, chunk: int) -> Tensor:
    """[B, N, X] to [C, B * G, X], with zeros after the last token."""
    batch, length, width = tensor.shape
    tensor = F.pad(tensor, (0, 0, 0, -length % chunk))
    return tensor.view(batch, -1, chunk, width).permute(2, 0, 1, 3).reshape(chunk, -1, width)


class _Affine(NamedTuple):
    """The map state -> decay * state + added, elementwise; [B, G, S, I]."""

    decay: Tensor
    added: Tensor


def _compose(earlier: _Affine, later: _Affine) -> _Affine:
    return _Affine(earlier.decay * later.decay, later.added + later.decay * earlier.added)


def _enter(maps: _Affine, first: Tensor) -> Tensor:
    """What enters each of G chunks, [B, G, S, I], where `first` [B, S, I] enters the first of them."""
    before = _Affine(torch.zeros_like(first)[:, None], first[:, None])
    joined = _Affine._make(torch.cat([one, many[:, :-1]], 1) for one, many in zip(before, maps, strict=True))
    return inclusive_scan(_compose, joined).added


def _decay(delta: Tensor, a2: Tensor, out: Tensor) -> Tensor:
    """exp(delta a) of one place in all chunks: [R, I], [S, I] -> [R, S, I]; `a2` is a / ln 2, since exp2 is faster."""
    return torch.mul(delta[:, None, :], a2, out=out).exp2_()


def _whole(delta: Tensor, a2: Tensor, batch: int) -> Tensor:
    """The decay over each whole chunk, [B, G, S, I]."""
    return (delta.sum(0)[:, None, :] * a2).exp2().unflatten(0, (batch, -1))


class _Scan(torch.autograd.Function):
    """u = delta x, delta [C, R, I]; a [S, I]; b, c [C, R, S]; initial state [B, S, I]; rows R = B * G."""

    @staticmethod
    def forward(
        ctx: Any, u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, initial: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Outputs [C, R, I] and the last state [B, S, I]."""
        a2 = a * LOG2_E
        states = [_entering(u, delta, a2, b, initial)]
        outputs = []
        for place in range(len(u)):
            state = _decay(delta[place], a2, torch.empty_like(states[-1]))
            states.append(state.mul_(states[-1]).addcmul_(u[place][:, None, :], b[place][:, :, None]))
            outputs.append(torch.bmm(c[place][:, None, :], state)[:, 0])
        ctx.save_for_backward(u, delta, a, b, c, *states)
        return torch.stack(outputs), states[-1].unflatten(0, (len(initial), -1))[:, -1].clone()

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator] # torch leaves it unannotated
    def backward(ctx: Any, d_y: Tensor, d_last: Tensor) -> tuple[Tensor, ...]:
        """The recurrence of the gradients runs backwards through the same decays."""
        u, delta, a, b, c, *states = ctx.saved_tensors
        a2 = a * LOG2_E
        d_state = _leaving(d_y, delta, a2, c, d_last)
        d_u, d_delta, d_b, d_c = (torch.empty_like(t) for t in (u, delta, b, c))
        d_a, scratch = torch.zeros_like(d_state), torch.empty_like(d_state)
        for place in reversed(range(len(u))):
            d_state.addcmul_(d_y[place][:, None, :], c[place][:, :, None])
            # Products are summed by themselves: on a CPU that is several times faster than bmm with a vector.
            d_c[place] = torch.mul(states[place + 1], d_y[place][:, None, :], out=scratch).sum(2)
            d_b[place] = torch.mul(d_state, u[place][:, None, :], out=scratch).sum(2)
            d_u[place] = torch.bmm(b[place][:, None, :], d_state)[:, 0]
            d_state.mul_(_decay(delta[place], a2, scratch))
            d_exponent = torch.mul(states[place], d_state, out=scratch)
            d_a.addcmul_(d_exponent, delta[place][:, None, :])
            d_delta[place] = d_exponent.mul_(a).sum(1)
        return d_u, d_delta, d_a.sum(0), d_b, d_c, d_state.unflatten(0, (len(d_last), -1))[:, 0]


def _entering(u: Tensor, delta: Tensor, a2: Tensor, b: Tensor, initial: Tensor) -> Tensor:
    """The states that enter the chunks, [R, S, I]: each chunk is first run from zero to find what it adds."""
    if u.shape[1] == len(initial):
        return initial
    added = u.new_zeros(u.shape[1], *a2.shape)
    scratch = torch.empty_like(added)
    for place in range(len(u)):
        added.mul_(_decay(delta[place], a2, scratch)).addcmul_(u[place][:, None, :], b[place][:, :, None])
    maps = _Affine(_whole(delta, a2, len(initial)), added.unflatten(0, (len(initial), -1)))
    return _enter(maps, initial).flatten(0, 1)


def _leaving(d_y: Tensor, delta: Tensor, a2: Tensor, c: Tensor, d_last: Tensor) -> Tensor:
    """The gradients of the states that leave the chunks, from later chunks alone: [R, S, I], free to be written to."""
    if d_y.shape[1] == len(d_last):
        return d_last.clone(memory_format=torch.contiguous_format)
    added = d_y.new_zeros(d_y.shape[1], *a2.shape)
    scratch = torch.empty_like(added)
    for place in reversed(range(len(d_y))):
        added.addcmul_(d_y[place][:, None, :], c[place][:, :, None]).mul_(_decay(delta[place], a2, scratch))
    maps = _Affine(_whole(delta, a2, len(d_last)), added.unflatten(0, (len(d_last), -1)))
    backwards = _Affine._make(tensor.flip(1) for tensor in maps)
    return _enter(backwards, d_last).flip(1).flatten(0, 1)
