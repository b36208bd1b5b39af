"""Finds the model a command line names: `package.module:attribute` or `path/to/file.py:attribute`."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from audits.formatting import error_text
from audits.subject.budget import OutOfTime
from audits.subject.settings import SubjectError
from audits.subject.subject import Model


def load_target(target: str) -> Model:
    """The module or callable that `target` names; a zero-argument factory is called.

    Raises:
        SubjectError: nothing is there, importing it failed, or the factory raised.
    """
    where, colon, attribute = target.rpartition(":")
    if not colon or not where or not attribute:
        raise SubjectError(f"target {target!r} must look like package.module:attribute or path/to/file.py:attribute")
    found: Any = _import(where, target)
    for name in attribute.split("."):
        if not hasattr(found, name):
            raise SubjectError(f"target {target!r}: {where} has no attribute {attribute!r}; it has {_names(found)}")
        found = getattr(found, name)
    return _build(found, target)


def _import(where: str, target: str) -> ModuleType:
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return _from_file(Path(where)) if where.endswith(".py") else importlib.import_module(where)
    except (SubjectError, KeyboardInterrupt, OutOfTime):
        raise
    except ModuleNotFoundError as problem:
        raise SubjectError(f"target {target!r}: {problem}; is it installed, or on the path from here?") from problem
    except BaseException as problem:
        raise SubjectError(f"target {target!r}: importing it raised {error_text(problem)}") from problem


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise SubjectError(f"there is no file {str(path)!r}: give a path from the current folder, or an absolute one")
    name = path.stem
    while name in sys.modules:  # a file called torch.py must not replace torch
        name += "_"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise SubjectError(f"{str(path)!r} cannot be imported as Python")
    module = importlib.util.module_from_spec(spec)
    # Neighbours are imported as a script would.
    if str(path.parent.resolve()) not in sys.path:
        sys.path.insert(0, str(path.parent.resolve()))
    # Dataclasses and pickles look their module up by name.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _build(found: object, target: str) -> Model:
    """The model itself, or what its zero-argument factory returns."""
    if isinstance(found, nn.Module):
        return found
    if not callable(found):
        raise SubjectError(f"target {target!r} is a {type(found).__name__}, not a module, callable or factory")
    needed = _required(found)
    if isinstance(found, type) and needed:
        raise SubjectError(f"target {target!r} is a class that needs {', '.join(needed)}: name a zero-argument factory")
    if needed:
        return found
    try:
        built: object = found()
    except (KeyboardInterrupt, OutOfTime):
        raise
    except BaseException as problem:  # sys.exit() in a factory is an error, too
        raise SubjectError(f"target {target!r}: calling the factory raised {error_text(problem)}") from problem
    if not callable(built):
        raise SubjectError(
            f"target {target!r}: the factory returned a {type(built).__name__}, not a module or callable"
        )
    return built


def _required(found: Any) -> list[str]:
    """Names of parameters without a default; variable ones need nothing."""
    try:
        parameters = inspect.signature(found).parameters.values()
    except (TypeError, ValueError):
        return ["x"]
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind not in optional]


def _names(found: Any) -> str:
    names = [name for name in vars(found) if not name.startswith("_")] if hasattr(found, "__dict__") else []
    return ", ".join(names[:8]) + (", …" if len(names) > 8 else "") if names else "none"
