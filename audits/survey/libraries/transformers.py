"""Hugging Face transformers: everything its causal language modelling mapping registers; nothing is downloaded."""

from __future__ import annotations

import importlib
import json
import os
from typing import Any

import torch
from torch import nn

from audits.survey.fixups import FIXUPS, VARIANTS
from audits.survey.library import Architecture, Library, NotBuiltError, Tiny
from audits.survey.shrink import is_config, shrunk
from audits.survey.variants import RISKY

MOST_PARAMETERS = 8_000_000  # what is larger after shrinking has a size that the table does not know


def release() -> str:
    """The installed version."""
    return str(_transformers().__version__)


def architectures() -> tuple[Architecture, ...]:
    """Every registered causal language model, and its variants from the table of fix-ups."""
    mapping = _transformers().models.auto.modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    found = [Architecture(name, _first(model)) for name, model in mapping.items()]
    for plain in tuple(found):
        for key, value in VARIANTS.get(plain.name, {}).items():
            found.append(Architecture(f"{plain.name}+{key}", plain.model, ((key, value),)))
        for variant, settings in RISKY.get(plain.name, {}).items():
            found.append(Architecture(f"{plain.name}+{variant}", plain.model, tuple(settings.items())))
    return tuple(sorted(found, key=lambda architecture: architecture.name))


def build(architecture: Architecture, seed: int) -> Tiny:
    """A tiny model with random weights, in evaluation mode."""
    library = _transformers()
    model_class = getattr(library, architecture.model)
    try:
        config = _configuration(library, architecture, model_class)
        with torch.device("meta"):
            size = sum(parameter.numel() for parameter in model_class(config).parameters())
        if size > MOST_PARAMETERS:
            raise NotBuiltError(f"still {size} parameters after shrinking: a size is missing in the table of fix-ups")
        torch.manual_seed(seed)
        model = model_class(config).eval()
    except NotBuiltError:
        raise
    except Exception as problem:
        raise NotBuiltError(_one_line(problem)) from problem
    return Tiny(model, _vocabulary(model), _in_one_line(config))


def _transformers() -> Any:
    """The library, told to stay off the network and quiet."""
    os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"
    library: Any = importlib.import_module("transformers")
    library.logging.set_verbosity_error()
    return library


def _configuration(library: Any, architecture: Architecture, model_class: Any) -> Any:
    """The shrunk configuration; of a composite model, the part that the class is made from."""
    registered = architecture.name.partition("+")[0]
    config_class = library.CONFIG_MAPPING[registered]
    fixups = FIXUPS.get(registered, {}) | dict(architecture.variant)
    config = config_class(**shrunk(config_class(), fixups))
    wanted = model_class.config_class
    parts = [part for part in vars(config).values() if is_config(part) and isinstance(part, wanted)]
    return config if isinstance(config, wanted) or not parts else parts[0]


def _vocabulary(model: nn.Module) -> int | None:
    try:
        embedding = model.get_input_embeddings()  # type: ignore[operator] # of every transformers model
    except Exception:
        return None
    size = getattr(embedding, "num_embeddings", None)
    return min(size, _limit(model)) if isinstance(size, int) else None


def _limit(model: nn.Module) -> int:
    """No more tokens than the configuration knows: embeddings may have spare rows."""
    size = getattr(model.config, "vocab_size", None)
    return size if isinstance(size, int) else 2**31


def _first(model: Any) -> str:
    """Some releases register several classes for one name."""
    return model if isinstance(model, str) else str(model[0])


def _in_one_line(config: Any) -> str:
    """What differs from the default configuration, as JSON."""
    try:
        return json.dumps(config.to_diff_dict(), sort_keys=True, default=str)
    except Exception:
        return ""


def _one_line(problem: Exception) -> str:
    return " ".join(f"{type(problem).__name__}: {problem}".split())[:300]


LIBRARY = Library("transformers", release, architectures, build)
