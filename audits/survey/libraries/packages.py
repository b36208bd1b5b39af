"""Released packages other than transformers: the table `audits/survey/packages.toml`, every one pinned.

Each is installed with its requirements in a folder of its own, so that versions of two of them cannot meet.
"""

from __future__ import annotations

import hashlib
import importlib
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from audits.evidence.machine import cache_folder
from audits.survey.library import Architecture, Library, NotBuiltError, TinyModel

VOCABULARY = 64
CLASS, POSITIONAL = "class", "args"  # keys of a table that describes an object, beside its keyword arguments
_PIP = (sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "--no-deps")


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model of a package.

    `model` holds its class as module:name under `class`, positional arguments under `args`, and keyword arguments. A
    value that is itself a table with a `class` is built in the same way.
    """

    requirements: list[str]  # all that is installed, the package itself first, each as name==version
    model: dict[str, Any]
    call: dict[str, Any] = {}  # keyword arguments of its forward pass
    width: int | None = None  # features a position; None where it takes tokens


class Called(nn.Module):
    """A model with arguments of its forward pass given."""

    def __init__(self, model: nn.Module, arguments: dict[str, Any]) -> None:
        super().__init__()
        self.model, self.arguments = model, arguments

    def forward(self, inputs: Tensor) -> Any:
        """Whatever the model returns."""
        return self.model(inputs, **self.arguments)


def release() -> str:
    """The month in which the table was pinned."""
    return str(_table()["edition"])


def architectures() -> tuple[Architecture, ...]:
    """Every row of the table, and its variants."""
    rows = _table()["packages"]
    names = sorted([*rows, *(f"{name}+{variant}" for name, row in rows.items() for variant in row.get("variants", ()))])
    recipes = {name: _recipe(name) for name in names}
    return tuple(
        Architecture(name, its.model[CLASS].partition(":")[2], its.requirements[0]) for name, its in recipes.items()
    )


def recipe(architecture: Architecture) -> dict[str, Any]:
    """What is installed, built and called."""
    made: dict[str, Any] = msgspec.to_builtins(_recipe(architecture.name))
    return made


def build(architecture: Architecture, recipe: dict[str, Any], seed: int) -> TinyModel:  # noqa: ARG001 - the recipe says all
    """A tiny model with random weights, from the package's own folder, which is installed where it is absent."""
    made = msgspec.convert(recipe, Recipe)
    sys.path.insert(0, str(installed(made.requirements)))
    torch.manual_seed(seed)
    try:
        model = _object(made.model)
        model = (Called(model, made.call) if made.call else model).eval()
    except (Exception, SystemExit) as problem:  # some packages exit where a kernel is missing
        raise NotBuiltError.of(problem) from problem
    return TinyModel(model, VOCABULARY if made.width is None else None, made.width)


def _object(described: Any) -> Any:
    """What a table with a class describes; lists become tuples, anything else stays what it is."""
    if isinstance(described, list):
        return tuple(map(_object, described))
    if not isinstance(described, dict):
        return described
    made = {key: _object(value) for key, value in described.items()}
    if CLASS not in made:
        return made
    module, _, name = made.pop(CLASS).partition(":")
    return getattr(importlib.import_module(module), name)(*made.pop(POSITIONAL, ()), **made)


def _recipe(name: str) -> Recipe:
    row, _, variant = name.partition("+")
    plain = dict(_table()["packages"][row])
    variants = plain.pop("variants", {})
    return msgspec.convert(_merged(plain, variants[variant] if variant else {}), Recipe)


def _merged(plain: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """A table with the entries of another; tables in both are merged in the same way."""
    both = {key: _merged(plain[key], value) for key, value in other.items() if isinstance(plain.get(key), dict)}
    return plain | other | both


def installed(requirements: Sequence[str]) -> Path:
    """The folder with these packages and no others, which pip fills where it is absent; NotBuiltError if it cannot."""
    digest = hashlib.sha256("\n".join(requirements).encode()).hexdigest()[:8]
    home = (cache_folder() or Path(gettempdir())) / "packages" / f"{requirements[0].replace('==', '-')}-{digest}"
    folder = home / "site-packages"
    if not folder.exists():
        home.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix="unfinished-", dir=home) as unfinished:
            _install(requirements, Path(unfinished, folder.name))
            try:
                Path(unfinished, folder.name).rename(folder)
            except OSError:  # another process was faster
                if not folder.exists():
                    raise
    return folder


def _install(requirements: Sequence[str], folder: Path) -> None:
    command = [*_PIP, "--target", str(folder), *requirements]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - the table's requirements
    if done.returncode:
        lines = done.stderr.splitlines() or [f"exit code {done.returncode}"]
        error = next((line for line in reversed(lines) if line.startswith("ERROR: ")), lines[-1])
        raise NotBuiltError(f"cannot be installed: {error.removeprefix('ERROR: ')[:300]}")


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(files("audits.survey").joinpath("packages.toml").read_text(encoding="utf-8"))


LIBRARY = Library("packages", release, architectures, recipe, build, fresh_process=True)
