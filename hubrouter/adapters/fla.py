"""`HubMixer`: a HubRouter layer at the interface of the layers of flash-linear-attention (fla)."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn

from hubrouter.adapters.errors import AdapterError
from hubrouter.adapters.masks import real_tokens
from hubrouter.adapters.ragged import RaggedState, route, stream
from hubrouter.config import RouterConfig
from hubrouter.router import HubRouter
from hubrouter.shapes import Float, Int

# The cache of fla selects and moves the rows of all tensors of a tuple, and supports no other classes.
FIELDS = [field.name for field in dataclasses.fields(RaggedState)]


class HubMixer(nn.Module):
    """HubRouter in place of an fla layer: `block.attn = HubMixer(config, layer_idx)`.

    Padding is removed before routing, and the documents of `cu_seqlens` are routed separately, as in fla.

    Args:
        router: a layer, or the configuration of one.
        layer_idx: number of the block, under which the cache keeps the state; not needed without a cache.
    """

    def __init__(self, router: HubRouter | RouterConfig, layer_idx: int | None = None) -> None:
        super().__init__()
        self.router = router if isinstance(router, HubRouter) else HubRouter(router)
        self.layer_idx = layer_idx

    def forward(
        self,
        hidden_states: Float[Tensor, "B N D"],
        attention_mask: Tensor | None = None,
        past_key_values: Any = None,
        use_cache: bool | None = False,
        output_attentions: bool | None = False,  # noqa: ARG002 - part of the interface; there are none to show
        *,
        cu_seqlens: Int[Tensor, " borders"] | None = None,
        max_seqlen: int | None = None,  # noqa: ARG002 - part of the interface, for kernels
    ) -> tuple[Float[Tensor, "B N D"], None, Any]:
        """Route N tokens.

        Args:
            hidden_states: the tokens.
            attention_mask: 0 (padding) or 1 for every token, of this piece or of all tokens so far.
            past_key_values: an fla Cache, or None; a state found there is continued.
            use_cache: whether to write the state after these tokens into it.
            output_attentions: not used.
            cu_seqlens: first token of every document of the one row, and its length at the end.
            max_seqlen: not used.

        Returns:
            The output, zero at padding; None; the cache.

        Raises:
            AdapterError: arguments that exclude each other, or invalid document borders.
            ConfigError: a state is given and the layer is bidirectional.
        """
        if cu_seqlens is not None:
            if attention_mask is not None or past_key_values is not None:
                raise AdapterError("cu_seqlens cannot be combined with attention_mask or past_key_values")
            return self._documents(hidden_states, cu_seqlens), None, None
        before = self._state(past_key_values)
        real = real_tokens(_checked_mask(attention_mask), hidden_states, 0 if before is None else before.past)
        real = real[:, -hidden_states.shape[1] :]
        if before is None and (past_key_values is None or not use_cache):
            return route(self.router, hidden_states, real), None, past_key_values
        output, state = stream(self.router, hidden_states, real, before)
        if use_cache:
            tensors = tuple(state.tensors().values())
            past_key_values.update(recurrent_state=tensors, layer_idx=self.layer_idx, offset=hidden_states.shape[1])
        return output, None, past_key_values

    def _state(self, cache: Any) -> RaggedState | None:
        """The state of this layer in the cache; None where there is none."""
        if cache is None:
            return None
        if self.layer_idx is None:
            raise AdapterError("a HubMixer needs a layer_idx to keep its state in past_key_values")
        entry = cache[self.layer_idx] if len(cache) > self.layer_idx else None
        state = entry["recurrent_state"] if entry else None
        if state is None:
            return None
        if not isinstance(state, tuple) or len(state) != len(FIELDS):
            raise AdapterError(f"past_key_values holds a {type(state).__name__} of another layer at {self.layer_idx}")
        return RaggedState(**dict(zip(FIELDS, state, strict=True)))

    def _documents(self, x: Tensor, cu_seqlens: Tensor) -> Tensor:
        borders = cu_seqlens.tolist()
        if len(x) != 1 or borders[:1] != [0] or borders[-1] != x.shape[1] or borders != sorted(borders):
            raise AdapterError(
                f"cu_seqlens must rise from 0 to the number of tokens of one row; it is {borders} for "
                f"{list(x.shape[:2])}"
            )
        lengths = cu_seqlens.diff().tolist()
        return torch.cat([self.router(piece) for piece in x.split(lengths, dim=1) if piece.shape[1]], dim=1)


def _checked_mask(mask: Tensor | None) -> Tensor | None:
    if mask is not None and mask.ndim != 2:
        raise AdapterError(f"attention_mask must be 0 or 1 for every token [B, N], not the shape {list(mask.shape)}")
    return mask
