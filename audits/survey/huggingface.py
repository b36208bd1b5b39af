"""A model of transformers from a configuration: a folder's, one in the local cache, or the default of a model type."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any

import torch
from torch import nn

from audits.formatting import error_text
from audits.subject.settings import SubjectError
from audits.survey.fixups import FIXUPS, SEQ_LEN
from audits.survey.libraries.transformers import build, built_within
from audits.survey.library import Architecture, NotBuiltError
from audits.survey.shrink import is_config, shrunk

PREFIX = "hf:"
LARGEST = 2_000_000_000  # parameters built in full size; an audit holds several copies of a model
NEEDED = 'hf: targets need transformers: pip install "hubrouter-audit[survey]"'
AUTO_CLASSES = ("AutoModelForCausalLM", "AutoModelForSeq2SeqLM", "AutoModel")  # the first that has the type applies
# What a configuration says of its own weights and history, not of the model.
NOT_CARRIED = ("quantization_config",)


def build_model(name: str, *, shrink: bool, seed: int = 0) -> nn.Module:
    """The model that a configuration describes, with random weights, in evaluation mode; nothing is downloaded.

    `name` is a folder with a config.json, a repository in the local cache of Hugging Face, or a model type ("llama").
    `shrink` makes every size small and keeps one layer of each kind, as the survey of transformers does.

    Raises:
        SubjectError: transformers is not installed, there is no such configuration, or it cannot be built.
    """
    try:
        library: Any = importlib.import_module("transformers")
    except ModuleNotFoundError as problem:
        raise SubjectError(NEEDED) from problem
    library.logging.set_verbosity_error()
    config, given = _configuration(library, name)
    architecture = Architecture(config.model_type, _model_class(library, config).__name__)
    if not shrink:
        return _full_size(library, architecture.model, config, seed)
    fixups = FIXUPS.get(config.model_type, {})
    # Fix-ups also turn mechanisms on, which a given configuration may not have: only where it does not run without.
    tries = [_arguments(config, {}), _arguments(config, fixups)] if given else [shrunk(config, fixups)]
    return _first_that_runs(architecture, tries, seed)


def _configuration(library: Any, name: str) -> tuple[Any, bool]:
    """The configuration, and whether it is a given one, not the default of a model type."""
    folder = Path(name).expanduser()
    folder = folder.parent if folder.name == "config.json" else folder
    local = (folder / "config.json").is_file()
    try:
        if not local and name in library.CONFIG_MAPPING:
            return library.CONFIG_MAPPING[name](), False
        where = str(folder) if local else name
        return library.AutoConfig.from_pretrained(where, local_files_only=True, trust_remote_code=False), True
    except OSError as problem:
        raise SubjectError(
            f"{PREFIX}{name}: no folder with a config.json, no model type of transformers {library.__version__}, and "
            f"not in the local cache (hf download {name} config.json puts it there)"
        ) from problem
    except Exception as problem:
        raise SubjectError(f"{PREFIX}{name}: the configuration cannot be read: {error_text(problem)}") from problem


def _model_class(library: Any, config: Any) -> Any:
    """The class that the configuration names, else that of its type that models language."""
    for name in getattr(config, "architectures", None) or ():
        if (named := getattr(library, name, None)) is not None:
            return named
    for auto in AUTO_CLASSES:
        mapping = getattr(library, auto)._model_mapping
        if type(config) in mapping:
            found = mapping[type(config)]
            return found[0] if isinstance(found, tuple) else found
    raise SubjectError(f"transformers {library.__version__} has no model of the type {config.model_type!r}")


def _full_size(library: Any, model_class: str, config: Any, seed: int) -> nn.Module:
    try:
        model, size = built_within(LARGEST, getattr(library, model_class), config, seed)
    except Exception as problem:
        raise SubjectError(f"{model_class} cannot be built: {error_text(problem)}") from problem
    if model is None:
        raise SubjectError(f"{size / 1e9:.1f} billion parameters are too many to audit here: give --shrink")
    return model


def _arguments(config: Any, fixups: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a tiny configuration that keeps what this one changes of its class's default."""
    arguments = _changed(config) | shrunk(config, fixups)
    for name, part in vars(config).items():
        if is_config(part):
            arguments[name] = {"model_type": part.model_type, **_arguments(part, fixups.get(name, {}))}
    if (rotary := arguments.get("rope_parameters")) and "long_factor" in rotary:
        before, after = _head_dim(vars(config)), _head_dim(vars(config) | arguments)
        factors = {name: rotary[name] for name in ("short_factor", "long_factor")}
        cut = {name: values[: len(values) * after // before] for name, values in factors.items()}  # one a frequency
        arguments["rope_parameters"] = rotary | cut
    return arguments


def _head_dim(settings: dict[str, Any]) -> int:
    return int(settings.get("head_dim") or settings["hidden_size"] // settings["num_attention_heads"])


def _changed(config: Any) -> dict[str, Any]:
    """The settings in which a configuration differs from the default one of its class."""
    try:
        default = vars(type(config)())
    except Exception:  # the class has no default: everything is kept
        default = {}
    taken = set(inspect.signature(type(config).__init__).parameters) - {"self", *NOT_CARRIED}
    values = {name: value for name, value in vars(config).items() if name in taken and not is_config(value)}
    return {name: value for name, value in values.items() if name not in default or default[name] != value}


def _first_that_runs(architecture: Architecture, tries: list[dict[str, Any]], seed: int) -> nn.Module:
    """The model of the first arguments with which it can be built and called; without one, the last that was built."""
    built: nn.Module | None = None
    problem: Exception | None = None
    for arguments in tries:
        try:
            built = build(architecture, arguments, seed).model
            if _runs(built):
                return built
        except NotBuiltError as error:
            problem = error
    if built is None:
        raise SubjectError(f"{architecture.model} cannot be built in a small size: {problem}") from problem
    return built


def _runs(model: Any) -> bool:
    tokens = torch.zeros(1, SEQ_LEN, dtype=torch.long)
    further = {"decoder_input_ids": tokens} if getattr(model.config, "is_encoder_decoder", False) else {}
    try:
        with torch.no_grad():
            model(tokens, **further)
    except Exception:
        return False
    return True
