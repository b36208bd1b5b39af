"""`HubAttention`: a HubRouter layer in place of `LlamaAttention` or `JambaAttention`."""

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

# Arguments that models of transformers pass to every layer and that do not matter to this one.
IGNORED = frozenset(
    {"cache_position", "use_cache", "output_attentions", "output_hidden_states", "output_router_logits", "return_dict"}
    | {"num_items_in_batch", "logits_to_keep", "is_causal", "token_type_ids"}
)
DOCUMENTS = frozenset({"cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k", "cu_seqlens", "seq_idx"})


class HubAttention(nn.Module):
    """HubRouter at the interface of a Hugging Face attention module.

    Padding is removed before routing, so the result for a row does not depend on how it was padded. Positions are
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
        **others: Any,
    ) -> tuple[Float[Tensor, "B N D"], None]:
        """Route N tokens.

        Args:
            hidden_states: the tokens.
            position_embeddings: not used.
            attention_mask: None, 0 or 1 for every token, or a causal mask; see `hubrouter.adapters.masks`.
            past_key_values: a transformers Cache, or None.
            position_ids: read only to refuse packed documents.
            others: further arguments that transformers passes to every layer; an unknown name is an error.

        Returns:
            The output, zero at padding, and None in place of attention weights.

        Raises:
            AdapterError: the mask is not made of causal order and padding, or documents are packed.
            ConfigError: a cache is to be continued and the layer is bidirectional.
            TypeError: an unknown argument.
        """
        _check(others)
        layer = None if past_key_values is None else layer_of(past_key_values, self.layer_idx)
        state = None if layer is None else layer.state
        past = 0 if state is None else state.past
        all_real = real_tokens(attention_mask, hidden_states, past)
        real = all_real[:, -hidden_states.shape[1] :]
        refuse_documents(position_ids, real)
        if layer is None:
            return route(self.router, hidden_states, real), None
        _check_past(all_real[:, : -hidden_states.shape[1]], state)
        return self._advance(hidden_states, real, layer), None

    def _advance(self, x: Tensor, real: Bool[Tensor, "B N"], layer: HubCacheLayer) -> Tensor:
        """Route the next tokens and keep the state."""
        if not self.router.config.causal and layer.state is None:
            # Models create a cache by default. The first pass needs none; the layer refuses the next one.
            empty = start(self.router, x)
            layer.state = dataclasses.replace(empty, columns=empty.columns + x.shape[1])
            return route(self.router, x, real)
        output, layer.state = stream(self.router, x, real, layer.state)
        return output


def _check(others: dict[str, Any]) -> None:
    packed = sorted(name for name in DOCUMENTS & set(others) if others[name] is not None)
    if packed:
        raise AdapterError(f"{packed[0]} means that {PACKED}")
    unknown = sorted(set(others) - IGNORED - DOCUMENTS)
    if unknown:
        raise TypeError(f"HubAttention got unexpected arguments {unknown}")


def _check_past(real: Bool[Tensor, "B P"], state: RaggedState | None) -> None:
    """A mask that covers earlier tokens must agree with the tokens in the cache."""
    if state is None or not real.shape[1]:
        return
    seen = state.seen.to(real.device)
    if len(seen) != len(real) or bool((real.sum(1) != seen).any()):
        raise AdapterError(
            f"attention_mask marks {real.sum(1).tolist()} earlier tokens as real, and the cache has {seen.tolist()}: "
            "the mask of earlier tokens must not change while a sequence is continued"
        )
