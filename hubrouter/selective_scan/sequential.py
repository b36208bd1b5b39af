"""`loop` and `unbind`: the recurrence token by token, as a Python loop. Slow on purpose: the baseline tiers.

Both launch some ten kernels a token forward and twice as many backward. They differ only in how they read token t.
`x[:, t]` is a select, whose backward fills a gradient as large as all of x with zeros for every t: O(N^2) work in all.
`unbind` splits a tensor once, and its backward joins the parts once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from hubrouter.selective_scan.recurrence import ScanInputs, Scanned

Token = tuple[Tensor, Tensor, Tensor, Tensor]  # x [B, I], delta [B, I], b [B, S], c [B, S]


def loop(inputs: ScanInputs, initial: Tensor) -> Scanned:
    """Reads token t by indexing `x[:, t]`: backward costs O(N^2)."""
    tokens = ((inputs.x[:, t], inputs.delta[:, t], inputs.b[:, t], inputs.c[:, t]) for t in range(inputs.x.shape[1]))
    return _scan(tokens, inputs.a, initial)


def unbind(inputs: ScanInputs, initial: Tensor) -> Scanned:
    """Splits all tokens at once: backward costs O(N)."""
    return _scan(_unbound(inputs), inputs.a, initial)


def _unbound(inputs: ScanInputs) -> Iterator[Token]:
    return zip(inputs.x.unbind(1), inputs.delta.unbind(1), inputs.b.unbind(1), inputs.c.unbind(1), strict=True)


def _scan(tokens: Iterable[Token], a: Tensor, state: Tensor) -> Scanned:
    outputs = []
    for x, delta, b, c in tokens:
        decay = (delta[:, :, None] * a).exp()
        state = decay * state + (delta * x)[:, :, None] * b[:, None, :]
        outputs.append((state * c[:, None, :]).sum(2))
    return Scanned(torch.stack(outputs, dim=1), state)
