"""The hash of the code that defines a run: a run whose code has changed since is stale, and is shown as such.

It covers the module that carries the run out and every module of this project that it imports, directly or through
others, inside functions too. What is hashed is the syntax tree without docstrings, so that comments, formatting and
documentation stale nothing. A folder that is imported whole and searched at run time (`import audits.probes as
package`) counts with all its modules. Versions of torch and of other libraries are not part of it; a record names them.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROJECT = ("audits", "hubrouter")
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class _Source:
    """What a module adds: the digest of its own tree, and the modules it imports."""

    digest: str
    imports: tuple[str, ...]


def code_hash(modules: Iterable[str], beside: Iterable[str] = ()) -> str:
    """The first 16 hex digits of SHA-256 over the modules' code and that of all they import.

    Args:
        modules: dotted names; one outside this project adds nothing but its name.
        beside: modules that are not followed: what they do is shown beside the result and does not decide it.
    """
    digest = hashlib.sha256()
    for name in sorted(_closure(frozenset(modules), frozenset(beside))):
        digest.update(f"{name} {_source(name).digest}\n".encode())
    return digest.hexdigest()[:16]


def modules_behind(modules: Iterable[str], beside: Iterable[str] = ()) -> tuple[str, ...]:
    """The dotted names of all modules that `code_hash` covers, sorted."""
    return tuple(sorted(_closure(frozenset(modules), frozenset(beside))))


@cache
def _closure(modules: frozenset[str], beside: frozenset[str]) -> frozenset[str]:
    seen: set[str] = set()
    waiting = [name for name in modules if name not in beside]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += [other for other in _source(name).imports if other not in beside]
    return frozenset(seen)


@cache
def _source(name: str) -> _Source:
    """A module's digest and imports; one without a file of ours has neither."""
    file = _file(name)
    if file is None:
        return _Source("", ())
    tree = ast.parse(file.read_bytes())
    imports = tuple(sorted({found for dotted in _imported(name, file, tree) for found in _known(dotted)} - {name}))
    return _Source(hashlib.sha256("".join(_written(tree)).encode()).hexdigest(), imports)


def _file(name: str) -> Path | None:
    """The file of a module of this project."""
    if name.split(".")[0] not in PROJECT:
        return None
    path = ROOT.joinpath(*name.split("."))
    found = (path.with_suffix(".py"), path / "__init__.py")
    return next((file for file in found if file.is_file()), None)


def _imported(name: str, file: Path, tree: ast.Module) -> Iterator[str]:
    """Dotted names as imported; a whole package under an alias gives its modules, `from a import b` gives `a.b`.

    Packages around an imported module are not followed: what they re-export for users defines no run.
    """
    package = name.split(".") if file.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
                yield from _modules_of(alias.name) if alias.asname else ()
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _modules_of(package: str) -> Iterator[str]:
    """The modules in a package's folder; none for a module."""
    file = _file(package)
    if file is not None and file.name == "__init__.py":
        yield from (f"{package}.{found.stem}" for found in sorted(file.parent.glob("*.py")) if found != file)


def _known(dotted: str) -> Iterator[str]:
    """The module of that name, or the one that holds what is named; nothing for another project's."""
    while dotted and _file(dotted) is None:
        dotted = dotted.rpartition(".")[0]
    yield from [dotted] if dotted else []


def _written(node: ast.AST) -> Iterator[str]:
    """The tree as text, the same in every Python: empty fields, which versions differ in, are left out."""
    yield f"({type(node).__name__}"
    for field, value in ast.iter_fields(node):
        if field == "body" and isinstance(node, _DOCUMENTED):
            value = _undocumented(value)
        if value is None or value == []:
            continue
        yield f" {field}="
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, ast.AST):
                yield from _written(item)
            else:
                yield f"{type(item).__name__}:{item!r},"
    yield ")"


def _undocumented(body: list[ast.stmt]) -> list[ast.stmt]:
    """A body without its docstring."""
    first = body[0] if body else None
    described = (
        isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    )
    return body[1:] if described else body
