"""What all mixers do at padding: set it to zero, before anything else."""

from __future__ import annotations

from torch import Tensor

from hubrouter.shapes import Bool, Float


def zeroed(x: Float[Tensor, "B N D"], valid: Bool[Tensor, "B N"] | None) -> Float[Tensor, "B N D"]:
    """The same with zeros at padding: a weight of 0 does not suppress NaN or infinity."""
    return x if valid is None else x.masked_fill(~valid[..., None], 0)
