"""Makes the smallest configuration that still has every kind of layer, from a library's default one."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from audits.survey.fixups import SIZES, SPREADS

LAYER_COUNTS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers", "num_decoder_layers")
MOST_LAYERS = 6  # kinds of layers that are kept at most


def shrunk(config: Any, fixups: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that make a tiny configuration of the class of `config`, a default one with parts of the same kind.

    `fixups` are settings that override the general sizes; those of a part lie under the part's name.
    """
    parts = {name: value for name, value in vars(config).items() if is_config(value)}
    arguments = _sizes(config) | _layers(config)
    for name, part in parts.items():  # a part's type is that by which the library finds its class
        kind = getattr(part, "model_type", "")
        arguments[name] = ({"model_type": kind} if kind else {}) | shrunk(part, fixups.get(name, {}))
    return arguments | {name: value for name, value in fixups.items() if name not in parts}


def is_config(value: Any) -> bool:
    """Whether a value is a configuration object, of any library with the same interface."""
    return hasattr(value, "to_dict") and hasattr(value, "to_json_string")


def _sizes(config: Any) -> dict[str, Any]:
    """The settings with a smaller value in the table; what the class does not take is derived from these."""
    taken = _taken(config)
    plain = {name: value for name, value in vars(config).items() if not is_config(value)}
    settings = {name: value for name, value in plain.items() if name in taken or name.endswith("_token_id")}
    return {name: small for name, value in settings.items() if (small := _small(name, value)) != value}


def _small(name: str, value: Any) -> Any:
    """The value of a setting, its numbers made as small as the table says."""
    if isinstance(value, float):
        return SPREADS.get(name, value)
    if isinstance(value, dict):
        return {key: _small(str(key), item) for key, item in value.items()}
    if isinstance(value, list):
        return [_small(name, item) for item in value]
    if isinstance(value, bool) or not isinstance(value, int):
        return value
    return min(value, next((size for pattern, size in SIZES if fnmatchcase(name, pattern)), value))


def _layers(config: Any) -> dict[str, Any]:
    """One layer of each kind, at least two, where lists as long as the number of layers give the kinds."""
    found, taken = vars(config), _taken(config)
    count = next((name for name in LAYER_COUNTS if isinstance(found.get(name), int)), None)
    lists = {n: v for n, v in found.items() if n in taken and isinstance(v, list) and len(v) == found.get(count or "")}
    if count is None or not lists:
        return {}
    kinds: dict[str, int] = {}
    for layer in range(found[count]):
        kinds.setdefault(repr([values[layer] for values in lists.values()]), layer)
    chosen = sorted(kinds.values())[:MOST_LAYERS] if len(kinds) > 1 else range(found[count])[:2]
    kept = {name: [_small(name, values[layer]) for layer in chosen] for name, values in lists.items()}
    return {count: len(chosen), **kept}


def _taken(config: Any) -> frozenset[str]:
    """The settings that the class of a configuration takes, by the names of its attributes."""
    parameters = inspect.signature(type(config).__init__).parameters
    kept = getattr(config, "attribute_map", {})
    return frozenset(parameters) | {kept[name] for name in parameters if name in kept}
