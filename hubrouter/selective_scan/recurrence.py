"""The interface of all implementations of the selective scan: inputs, outputs and accuracy."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from hubrouter.shapes import Float


class Scanned(NamedTuple):
    """Outputs of all tokens, in the dtype of the input, and the state after the last, in at least float32."""

    y: Float[Tensor, "B N I"]
    state: Float[Tensor, "B I S"]


@dataclass(frozen=True)
class ScanInputs:
    """One selective scan (Mamba, arXiv:2312.00752, section 3.2) over N >= 1 tokens, I channels with S states each.

    For channel i, which belongs to row r of `a` and `delta`:

        h_t = exp(delta_t[r] a[r]) h_(t-1) + delta_t[r] x_t[i] b_t,    y_t[i] = c_t . h_t

    Mamba-1 has a row for each channel. Mamba-2 (arXiv:2405.21060) has a row for each head of I / R neighbouring
    channels and one decay for all states, so `a` is [R, 1]. A token with delta 0 does not change the state.

    Attributes:
        x: input.
        delta: step sizes, not negative; R divides I.
        a: rates, negative; T is S, or 1 for one rate for all states.
        b: input map, from a token to the states.
        c: output map, from the states to y.
    """

    x: Float[Tensor, "B N I"]
    delta: Float[Tensor, "B N R"]
    a: Float[Tensor, "R T"]
    b: Float[Tensor, "B N S"]
    c: Float[Tensor, "B N S"]

    def exact(self) -> ScanInputs:
        """The same in at least float32: a state sums over all tokens, which half precision cannot represent."""
        dtype = torch.promote_types(self.x.dtype, torch.float32)
        return ScanInputs(*(tensor.to(dtype) for tensor in (self.x, self.delta, self.a, self.b, self.c)))

    def per_channel(self) -> ScanInputs:
        """The same with a row of `delta` and `a` for each channel and a rate for each state: R = I, T = S."""
        width = self.x.shape[2] // self.delta.shape[2]
        rates = self.a.expand(-1, self.b.shape[2])
        if width == 1:
            return replace(self, a=rates)
        return replace(self, delta=self.delta.repeat_interleave(width, 2), a=rates.repeat_interleave(width, 0))

    def first(self, initial: Float[Tensor, "B I S"] | None) -> Float[Tensor, "B I S"]:
        """The state before any token: the given one, or zero."""
        if initial is not None:
            return initial
        return self.x.new_zeros(self.x.shape[0], self.x.shape[2], self.b.shape[2])
