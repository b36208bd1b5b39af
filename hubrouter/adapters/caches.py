"""Keeps a RaggedState in a transformers Cache, in the cache layer of the attention layer that HubRouter replaces.

A `Cache` is a list of layers; it queries their lengths and mask sizes, and reorders (beam search), repeats and selects
their rows. The layer found there is replaced by an instance of a subclass of `HubCacheLayer` and its own class, so
that these methods act on the state, and what the library adds to the class (mask sizes of static caches, for instance)
is kept.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hubrouter.adapters.errors import AdapterError
from hubrouter.adapters.ragged import RaggedState


class HubCacheLayer:
    """One layer of a cache that holds a state of constant size in place of keys and values.

    Attributes:
        state: None before the first token, and after `reset`.
    """

    is_compileable = False  # the state is a new object after every step
    is_croppable = False
    is_sliding = False
    supports_early_init = False  # there are no keys to allocate
    _layer_type = None  # transformers registers subclasses that set it
    state: RaggedState | None
    keys: Tensor | None
    values: Tensor | None

    def get_seq_length(self) -> int:
        """Tokens processed in every row, padding included."""
        return 0 if self.state is None else self.state.past

    def reset(self) -> None:
        """Return to the state before the first token."""
        self.state = None

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Row i continues row beam_idx[i]."""
        if self.state is not None:
            self.state = self.state.take(beam_idx)

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep these rows."""
        self.reorder_cache(torch.arange(self._rows())[indices.cpu()])

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat every row `repeats` times."""
        self.reorder_cache(torch.arange(self._rows()).repeat_interleave(repeats))

    def crop(self, tokens_to_remove: int) -> None:
        """Refused: tokens of a closed chunk cannot be removed from the summaries.

        Raises:
            AdapterError: unless there is nothing to remove.
        """
        if tokens_to_remove and self.state is not None:
            raise AdapterError(
                "a HubRouter layer cannot crop its cache: closed chunks cannot be removed from its summaries. "
                "Decode without assistant_model and prompt_lookup_num_tokens, or begin a new cache"
            )

    def update(self, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Refused: this layer stores no keys and values.

        Raises:
            AdapterError: always.
        """
        raise AdapterError("this layer of the cache belongs to a HubRouter layer: attention cannot write into it")

    def offload(self) -> None:
        """Do nothing: the state is small."""

    def prefetch(self) -> None:
        """Do nothing: the state was not offloaded."""

    def _rows(self) -> int:
        return 0 if self.state is None else len(self.state.seen)


def layer_of(cache: Any, layer_idx: int | None) -> HubCacheLayer:
    """The cache layer of this attention layer, able to hold its state.

    Raises:
        AdapterError: the layer has no index, or the cache is not one of transformers or has another layer there.
    """
    if layer_idx is None:
        raise AdapterError("a HubAttention needs a layer_idx to keep its state in past_key_values")
    layers = getattr(cache, "layers", None)
    if not isinstance(layers, list):
        raise AdapterError(
            f"past_key_values is a {type(cache).__name__}: a transformers Cache with `layers` is needed (release 5)"
        )
    while len(layers) <= layer_idx and getattr(cache, "layer_class_to_replicate", None) is not None:
        layers.append(cache.layer_class_to_replicate())
    if len(layers) <= layer_idx:
        raise AdapterError(f"past_key_values has {len(layers)} layers, and this is layer {layer_idx}")
    if not isinstance(layers[layer_idx], HubCacheLayer):
        layers[layer_idx] = _hub_layer(layers[layer_idx], layer_idx)
    found: HubCacheLayer = layers[layer_idx]
    return found


def _hub_layer(layer: Any, layer_idx: int) -> HubCacheLayer:
    kind = type(layer)
    if not all(hasattr(kind, name) for name in ("get_seq_length", "get_mask_sizes", "lazy_initialization")):
        raise AdapterError(f"layer {layer_idx} of past_key_values is a {kind.__name__}, which is no layer of attention")
    if getattr(layer, "is_sliding", False):
        raise AdapterError(
            f"layer {layer_idx} of past_key_values keeps a sliding window, which HubRouter does not have"
        )
    if layer.is_initialized and layer.get_seq_length():
        raise AdapterError(f"layer {layer_idx} of past_key_values holds keys of another model: begin a new cache")
    replacement: Any = object.__new__(type(f"Hub{kind.__name__}", (HubCacheLayer, kind), {}))
    replacement.__dict__.update(vars(layer), state=None)
    return replacement  # type: ignore[no-any-return]
