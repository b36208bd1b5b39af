"""What the source of this project defines, module by module: definitions, imports, and what importing a module does.

Read from syntax trees alone; nothing is imported. A definition is what a module binds to a name: functions, classes
and constants. Everything else at the top of a module, such as a call that registers something, is an effect: it counts
for whoever imports the module, as does a definition whose decorator belongs to this project and may register it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.util import resolve_name
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROJECT = ("audits", "hubrouter")
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Source:
    """One module."""

    name: str  # dotted
    file: Path
    definitions: dict[str, list[ast.stmt]] = field(default_factory=dict)  # of a name; several where it is bound again
    imports: dict[str, str] = field(default_factory=dict)  # a name's dotted origin
    effects: list[ast.stmt] = field(default_factory=list)  # what binds nothing, and what may register what it binds
    imported: list[str] = field(default_factory=list)  # dotted names of what is imported with the module


@cache
def file_of(name: str) -> Path | None:
    """The file of a module of this project; None for any other name."""
    if name.split(".")[0] not in PROJECT:
        return None
    path = ROOT.joinpath(*name.split("."))
    found = (path.with_suffix(".py"), path / "__init__.py")
    return next((file for file in found if file.is_file()), None)


def modules_in(package: str) -> tuple[str, ...]:
    """The dotted names of the modules in a package's folder, sorted."""
    file = file_of(package)
    assert file is not None, package
    return tuple(f"{package}.{found.stem}" for found in sorted(file.parent.glob("*.py")) if found != file)


def is_package(name: str) -> bool:
    """Whether a module of this project is a folder."""
    file = file_of(name)
    return file is not None and file.name == "__init__.py"


@cache
def source(name: str) -> Source:
    """A module of this project, taken apart."""
    file = file_of(name)
    assert file is not None, name
    found = Source(name, file)
    for statement in ast.parse(file.read_bytes()).body:
        _add(found, statement)
    return found


def _add(module: Source, statement: ast.stmt) -> None:
    for node in _at_top(statement):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module.imports |= bound_by(node, module)
            module.imported += imported_by(node, module)
    if isinstance(statement, ast.Import | ast.ImportFrom) or is_text(statement):
        return
    names = tuple(dict.fromkeys(_bound(statement)))
    for name in names:
        module.definitions.setdefault(name, []).append(statement)
    if _has_effect(module, statement, names):
        module.effects.append(statement)


def _has_effect(module: Source, statement: ast.stmt, names: tuple[str, ...]) -> bool:
    if isinstance(statement, Function | ast.ClassDef):
        roots = (_root(decorator) for decorator in statement.decorator_list)
        return any(root in module.definitions or _ours(module.imports.get(root, "")) for root in roots)
    only_imports = isinstance(statement, ast.If) and all(
        isinstance(node, ast.Import | ast.ImportFrom | ast.Pass) for node in (*statement.body, *statement.orelse)
    )
    return not names and not only_imports


def _ours(dotted: str) -> bool:
    return dotted.split(".")[0] in PROJECT


def _root(node: ast.AST) -> str:
    """The name an expression such as `a.b(c)[d]` begins with."""
    while isinstance(node, ast.Call | ast.Attribute | ast.Subscript):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def _at_top(statement: ast.stmt) -> Iterator[ast.AST]:
    """The statement and all inside it that is executed when the module is imported."""
    yield statement
    if not isinstance(statement, Function | ast.ClassDef):
        for child in ast.iter_child_nodes(statement):
            if isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):
                yield from _at_top(child)  # type: ignore[arg-type] # handlers and cases hold statements as well


def _bound(statement: ast.stmt) -> Iterator[str]:
    """The names a statement at the top of a module binds, or changes what is bound to."""
    for node in _at_top(statement):
        if isinstance(node, Function | ast.ClassDef):
            yield node.name
        for target in _targets(node):
            yield from (n for part in ast.walk(target) if (n := _root(part)) and not isinstance(part, ast.Call))


def _targets(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.Assign):
        return node.targets
    if isinstance(node, ast.AnnAssign | ast.AugAssign | ast.For):
        return [node.target]
    return [item.optional_vars for item in node.items if item.optional_vars] if isinstance(node, ast.With) else []


def is_text(statement: ast.stmt) -> bool:
    """Whether a statement is a docstring or another text that nothing reads."""
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def bound_by(node: ast.Import | ast.ImportFrom, module: Source) -> dict[str, str]:
    """The dotted origin of every name an import binds; relative ones are made absolute."""
    if isinstance(node, ast.Import):
        return {a.asname or a.name.split(".")[0]: a.name if a.asname else a.name.split(".")[0] for a in node.names}
    base = _base(node, module)
    return {alias.asname or alias.name: f"{base}.{alias.name}" for alias in node.names}


def imported_by(node: ast.Import | ast.ImportFrom, module: Source) -> list[str]:
    """The dotted names of what an import may load, whether or not they are modules."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    base = _base(node, module)
    return [base, *(f"{base}.{alias.name}" for alias in node.names)]


def _base(node: ast.ImportFrom, module: Source) -> str:
    package = module.name if module.file.name == "__init__.py" else module.name.rpartition(".")[0]
    return resolve_name("." * node.level + (node.module or ""), package)
