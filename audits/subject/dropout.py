"""What a forward pass draws at random, and the same pass without its dropout.

Pinned generators give two runs equal dropout masks only if both draw alike. A mixture of experts draws a mask for the
rows of each expert: a later token's route shifts the masks of earlier tokens, which is no information about the future.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from audits.subject.operations import Ran, record

DROPOUTS = {
    *(F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout),
    *(torch.dropout, torch.alpha_dropout, torch.feature_dropout, torch.feature_alpha_dropout),
}


def draws(call: Callable[[], object]) -> list[tuple[str, tuple[torch.Size, ...]]]:
    """Every operation of a call that draws from a generator, and the shapes of its arguments, in order."""

    def noted(ran: Ran) -> list[tuple[str, tuple[torch.Size, ...]]]:
        shapes = tuple(arg.shape for arg in ran.args if isinstance(arg, Tensor))
        return [(ran.func.__name__, shapes)] if torch.Tag.nondeterministic_seeded in ran.func.tags else []

    return record(call, noted)[1]


class WithoutDropout(TorchFunctionMode):
    """While active, dropout returns its input."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in DROPOUTS:
            return args[0] if args else kwargs["input"]
        if func is F.scaled_dot_product_attention:
            args = args[:4] + (0.0,) * (len(args) > 4) + args[5:]
            kwargs |= {"dropout_p": 0.0} if len(args) <= 4 else {}
        return func(*args, **kwargs)
