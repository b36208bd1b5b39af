"""The axis letters, defined once, and the array types that carry them.

B  batch rows          H  heads              M  hub tokens
N  tokens              E  head width, D / H  K  selected tokens
D  model width         G  chunks             C  chunk size (tokens)
V  vocabulary          L  tokens of a piece  S  tokens in an open chunk
F  features of a head

`Float[Tensor, "B N D"]` and its like come from jaxtyping, which checks them at run time under pytest. jaxtyping is not
needed to use the package: without it the annotations mean a plain tensor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
else:
    try:
        from jaxtyping import Bool, Float, Int
    except ImportError:

        class _PlainTensor:
            """Replaces a jaxtyping type: `Float[Tensor, "B N"]` is then just `Tensor`."""

            def __class_getitem__(cls, item: tuple[type, str]) -> type:
                return item[0]

        Bool = Float = Int = _PlainTensor

__all__ = ["Bool", "Float", "Int"]
