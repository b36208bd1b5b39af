"""Hugging Face transformers: everything its causal language modelling mapping registers; nothing is downloaded."""

from __future__ import annotations

import importlib
import json
import os
from typing import Any

import torch
from torch import nn

from audits.survey.fixups import FIXUPS, VARIANTS
from audits.survey.library import Architecture, Library, NotBuiltError, TinyModel
from audits.survey.shrink import is_config, shrunk

MOST_PARAMETERS = 8_000_000  # what is larger after shrinking has a size that the table does not list


def release() -> str:
    """The installed version."""
    return str(_transformers().__version__)


def architectures() -> tuple[Architecture, ...]:
    """Every registered causal language model, and its variants from the table of fix-ups."""
    mapping = _transformers().models.auto.modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    # Some releases register several classes for one name.
    names = [(name, model if isinstance(model, str) else str(model[0])) for name, model in mapping.items()]
    names += [(f"{name}+{variant}", model) for name, model in names for variant in VARIANTS.get(name, {})]
    return tuple(Architecture(*pair) for pair in sorted(names))


def recipe(architecture: Architecture) -> dict[str, Any]:
    """The arguments of the shrunk configuration; empty where the library cannot build its default one."""
    registered, _, variant = architecture.name.partition("+")
    settings = FIXUPS.get(registered, {}) | (VARIANTS[registered][variant] if variant else {})
    try:
        default = _transformers().CONFIG_MAPPING[registered]()
    except Exception:
        return {}
    arguments: dict[str, Any] = json.loads(json.dumps(shrunk(default, settings)))
    return arguments


def build(architecture: Architecture, recipe: dict[str, Any], seed: int) -> TinyModel:
    """A tiny model with random weights, in evaluation mode."""
    try:
        model_class = getattr(_transformers(), architecture.model)
        config = _configuration(architecture, recipe, model_class)
        model, size = built_within(MOST_PARAMETERS, model_class, config, seed)
    except Exception as problem:
        raise NotBuiltError.of(problem) from problem
    if model is None:
        raise NotBuiltError(f"still {size} parameters after shrinking: a size is missing in the table of fix-ups")
    return TinyModel(model, _vocabulary(model))


def built_within(most: int, model_class: Any, config: Any, seed: int) -> tuple[nn.Module | None, int]:
    """The model in evaluation mode, None where it has more parameters than these, and how many it has."""
    with torch.device("meta"):
        size = sum(parameter.numel() for parameter in model_class(config).parameters())
    torch.manual_seed(seed)
    return (model_class(config).eval() if size <= most else None), size


def _transformers() -> Any:
    """The library, kept from the network, with warnings off."""
    os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"
    library: Any = importlib.import_module("transformers")
    library.logging.set_verbosity_error()
    return library


def _configuration(architecture: Architecture, recipe: dict[str, Any], model_class: Any) -> Any:
    """The tiny configuration; of a composite model, the part that the class takes."""
    config = _transformers().CONFIG_MAPPING[architecture.name.partition("+")[0]](**recipe)
    parts = [part for part in vars(config).values() if is_config(part)]
    for each in (config, *parts):
        if hasattr(each, "_experts_implementation"):
            each._experts_implementation = "eager"  # the grouped kernel refuses float64
    wanted = model_class.config_class
    fitting = [part for part in (config, *parts) if isinstance(part, wanted)]
    return fitting[0] if fitting else config


def _vocabulary(model: nn.Module) -> int | None:
    try:
        embedding = model.get_input_embeddings()  # type: ignore[operator] # of every transformers model
    except Exception:
        return None
    # That of the configuration at most: embeddings may have spare rows.
    sizes = (getattr(embedding, "num_embeddings", None), getattr(model.config, "vocab_size", None))
    return min(size for size in sizes if isinstance(size, int)) if isinstance(sizes[0], int) else None


LIBRARY = Library("transformers", release, architectures, recipe, build)
