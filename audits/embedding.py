"""Where integer tokens become floats: taps the embedding look-up so that gradients and small nudges have a handle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


class EmbeddingTap(TorchFunctionMode):
    """While active, replaces the rows looked up for `tokens` by `change(rows)`; other look-ups stay as they are.

    Understands `F.embedding` (and so nn.Embedding) and plain indexing `weight[tokens]`. `taken` counts the look-ups.
    """

    def __init__(self, tokens: Tensor, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.tokens, self.change, self.taken = tokens, change, 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if func in (F.embedding, torch.embedding, Tensor.__getitem__) and self._looks_up(args, kwargs or {}, output):
            self.taken += 1
            return self.change(output)
        return output

    def _looks_up(self, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> bool:
        given = (*args, *kwargs.values())[:2]
        ids = next((t for t in given if isinstance(t, Tensor) and not t.is_floating_point()), None)
        return (
            isinstance(output, Tensor)
            and output.is_floating_point()
            and ids is not None
            and ids.dtype != torch.bool
            and ids.shape == self.tokens.shape
            and output.shape[: ids.ndim] == ids.shape
            and torch.equal(ids, self.tokens.to(ids.device))
        )
