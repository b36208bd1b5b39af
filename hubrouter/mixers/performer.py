"""`P`: Performer's estimate of softmax attention by positive random features (FAVOR+, arXiv:2009.14794), causal.

The exponentials need a stabiliser. Where it is the largest exponent of the whole sequence, as in common
implementations, a later token changes the rounding of earlier outputs, or makes them underflow. Here it is the largest
of the prefix: whenever it grows, the sums so far are scaled down, which cancels in the normalised output.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from hubrouter.config import ModelConfig
from hubrouter.mixers._prefix import PrefixAttention, Weighted
from hubrouter.shapes import Bool, Float

LETTER = "P"
FLOOR = 1e-4  # added to query features, so that no query is without weight; as in lucidrains' performer-pytorch


class Performer(PrefixAttention):
    """exp(q_t . k_j / sqrt(E)) is estimated by a product of F = `features` features; all heads share the directions.

    The directions are drawn from torch's global generator, once, and are a buffer: saved with the weights, not trained.
    """

    directions: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.register_buffer("directions", _orthogonal(config.features, config.d_model // config.n_heads))

    def weighted(self, q: Tensor, k: Tensor, real: Bool[Tensor, "R N"], peak: Tensor | None) -> Weighted:
        """Features exp(w . x - |x|^2 / 2 - stabiliser) of x = q or k over E^(1/4), for each direction w."""
        q, k = self._exponents(q), self._exponents(k).masked_fill(~real[..., None, None], -torch.inf)
        largest = k.detach().amax(-1)
        if peak is None:
            peak = torch.full_like(largest[:, 0], torch.finfo(k.dtype).min / 2)
        peaks = torch.cat([peak[:, None], largest], dim=1).cummax(1).values
        k = (k - peaks[:, 1:, :, None]).exp()
        q = (q - q.amax(-1, keepdim=True)).exp() + FLOOR
        return Weighted(q, k, peaks[:, :-1] - peaks[:, 1:], peaks[:, -1].clone())

    def _exponents(self, x: Float[Tensor, "B N H E"]) -> Float[Tensor, "B N H F"]:
        x = x * x.shape[-1] ** -0.25
        exponents: Tensor = x @ self.directions.to(x.dtype).mT - x.square().sum(-1, keepdim=True) / 2
        return exponents


def _orthogonal(rows: int, width: int) -> Float[Tensor, "F E"]:
    """Rows distributed as standard normal vectors, orthogonal within each `width` of them."""
    q, r = torch.linalg.qr(torch.randn(-(-rows // width), width, width))
    # QR fixes the signs of some entries; with those of R's diagonal the rows point everywhere with equal probability.
    uniform = (q * r.diagonal(dim1=1, dim2=2).sign()[:, None]).mT.flatten(0, 1)[:rows]
    return cast("Tensor", uniform * torch.randn(rows, width).norm(dim=1, keepdim=True))


def build(config: ModelConfig) -> Performer:
    """One layer of the model."""
    return Performer(config)
