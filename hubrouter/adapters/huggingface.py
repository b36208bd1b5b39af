"""`HubAttention`: a HubRouter layer in the place of `LlamaAttention` or `JambaAttention`."""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import Tensor, nn

from hubrouter.adapters.caches import HubCacheLayer, layer_of
from hubrouter.adapters.errors import AdapterError
from hubrouter.adapters.masks import PACKED, real_tokens, refuse_documents
from hubrouter.adapters.ragged import RaggedState, route, start, stream
from hubrouter.config import RouterConfig
from hubrouter.router import HubRouter
from hubrouter.shapes import Bool, Float

# What models of transformers hand down to every layer and what says nothing to this one.
PASSED_OVER = frozenset(
    {"cache_position", "use_cache", "output_attentions", "output_hidden_states", "output_router_logits", "return_dict"}
    | {"num_items_in_batch", "logits_to_keep", "is_causal", "token_type_ids"}
)
DOCUMENTS = frozenset({"cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k", "cu_seqlens", "seq_idx"})


class HubAttention(nn.Module):
    """HubRouter at the interface of a Hugging Face attention module.

    Padding is taken out before routing, so a row is routed as it would be alone, however it was padded. Positions are
    counted from its first real token: `position_embeddings` and the numbers in `position_ids` are not used.

    Args:
        router: a layer, or the configuration of one.
        layer_idx: number of the block, under which `past_key_values` keeps the state; not needed without a cache.
    """

    def __init__(self, router: HubRouter | RouterConfig, layer_idx: int | None = None) -> None:
        super().__init__()
        self.router = router if isinstance(router, HubRouter) else HubRouter(router)
        self.layer_idx = layer_idx
        self.is_causal = self.router.config.causal

    def forward(
        self,
        hidden_states: Float[Tensor, "B N D"],
        position_embeddings: Any = None,  # noqa: ARG002 - part of the interface; the layer counts positions itself
        attention_mask: Any = None,
        past_key_values: Any = None,
        position_ids: Tensor | None = None,
        **passed: Any,
    ) -> tuple[Float[Tensor, "B N D"], None]:
        """Route N tokens.

        Args:
            hidden_states: the tokens.
            position_embeddings: not used.
            attention_mask: None, 0 or 1 for every token, or a causal mask; see `hubrouter.adapters.masks`.
            past_key_values: a transformers Cache, or None.
            position_ids: read only to refuse packed documents.
            passed: what transformers hands to every layer; a name that is not known is an error.

        Returns:
            The output, zero at padding, and None in place of attention weights.

        Raises:
            AdapterError: the mask is not one of causal order and padding, or documents are packed.
            ConfigError: a bidirectional layer is to go on from a cache.
            TypeError: an argument that nobody knows.
        """
        _check(passed)
        layer = None if past_key_values is None else layer_of(past_key_values, self.layer_idx)
        state = None if layer is None else layer.state
        past = 0 if state is None else state.past
        told = real_tokens(attention_mask, hidden_states, past)
        real = told[:, -hidden_states.shape[1] :]
        refuse_documents(position_ids, real)
        if layer is None:
            return route(self.router, hidden_states, real), None
        _agree(told[:, : -hidden_states.shape[1]], state)
        return self._advance(hidden_states, real, layer), None

    def _advance(self, x: Tensor, real: Bool[Tensor, "B N"], layer: HubCacheLayer) -> Tensor:
        """Route the next tokens and keep the state."""
        if not self.router.config.causal and layer.state is None:
            # Models make a cache by default. A first pass needs none; the next one is refused by the layer.
            empty = start(self.router, x)
            layer.state = dataclasses.replace(empty, columns=empty.columns + x.shape[1])
            return route(self.router, x, real)
        output, layer.state = stream(self.router, x, real, layer.state)
        return output


def _check(passed: dict[str, Any]) -> None:
    packed = sorted(name for name in DOCUMENTS & set(passed) if passed[name] is not None)
    if packed:
        raise AdapterError(f"{packed[0]} says that {PACKED}")
    unknown = sorted(set(passed) - PASSED_OVER - DOCUMENTS)
    if unknown:
        raise TypeError(f"HubAttention got unexpected arguments {unknown}")


def _agree(told: Bool[Tensor, "B P"], state: RaggedState | None) -> None:
    """A mask that speaks of the past must tell the past that the cache has seen."""
    if state is None or not told.shape[1]:
        return
    seen = state.seen.to(told.device)
    if len(seen) != len(told) or bool((told.sum(1) != seen).any()):
        raise AdapterError(
            f"attention_mask says that {told.sum(1).tolist()} earlier tokens are real, and the cache has seen "
            f"{seen.tolist()}: it must not change while a sequence is continued"
        )
