"""The hash of the code that defines a run, without a name in it: a run whose code has changed since is stale.

A Merkle tree over definitions. What is hashed of a definition (a function, a class, a constant) is its syntax tree, in
which every name of this project is replaced by the digest of what it names, and every local variable by its number. So
it covers all that the run can reach, whatever modules that lies in, and nothing else. What changes no hash: comments,
docstrings, annotations' spelling, the order of imports and definitions, names of local variables, and where a module or
a definition lies and what it is called. What does: any other change to the code behind a run, a changed constant or
default, and a changed data file which that code names.

Three things are reached by other ways than names. What happens when a module behind the run is imported (a call that
registers something) counts. A folder that is searched at run time counts as one group: `import audits.probes as
package` and `package` handed to a search. There the order of the modules counts, which the search follows; their names
do where `package.__name__` is read, since modules are then looked up by name. A text that is the dotted name of a
module counts as that module.

Limits: a run that records the name of one of our classes or functions does not notice that it was renamed. Versions of
torch and of other libraries are not part of it; a record names them.
"""

from __future__ import annotations

import ast
import hashlib
from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import networkx

from audits.evidence.definitions import (
    ROOT,
    Function,
    bound_by,
    file_of,
    imported_by,
    is_package,
    is_text,
    modules_in,
    source,
)

if TYPE_CHECKING:
    from audits.evidence.experiment import Experiment

INTERFACE = "audits.evidence.experiment"
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


class Node(NamedTuple):
    """What a name leads to: a definition of a module, a whole module, a searched folder, an effect, or a data file."""

    kind: Literal["definition", "module", "folder", "folder by name", "effect", "data"]
    module: str  # dotted; of a data file its path
    name: str = ""  # of a definition; of an effect its index


Token = str | Node


def code_of(experiment: Experiment) -> str:
    """Today's hash of the code that defines an experiment's runs: part of the address of each run in the ledger."""
    return code_behind(experiment.execute, experiment.not_hashed)


def code_behind(execute: Callable[..., object], not_hashed: Iterable[str] = ()) -> str:
    """The first 16 hex digits of SHA-256 over all code that a module's function reaches, or a partial call of one.

    How runs are specified and how they report progress is no part of it, nor are the modules `not_hashed`, whose code
    does not decide a result; ValueError where one of them does not exist.
    """
    for name in not_hashed:
        if file_of(name) is None:
            raise ValueError(f"not_hashed names {name}, which is no module of this project")
    return _code_hash(definition(execute), frozenset((*not_hashed, INTERFACE)))


def definition(function: Callable[..., object]) -> Node:
    """The node of a function."""
    function = function.func if isinstance(function, partial) else function
    return Node("definition", function.__module__, function.__qualname__)


@cache
def _code_hash(root: Node, not_hashed: frozenset[str]) -> str:
    digests = _digests(_reached(root, not_hashed))
    effects = sorted({digest for node, digest in digests.items() if node.kind == "effect"})
    return hashlib.sha256("\n".join([digests[root], *effects]).encode()).hexdigest()[:16]


def _reached(root: Node, not_hashed: frozenset[str]) -> set[Node]:
    """All definitions, groups, files and effects of imported modules behind the root."""
    seen: set[Node] = set()
    loaded: set[str] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node in seen or node.module in not_hashed:
            continue
        seen.add(node)
        template = _template(node)
        waiting += [token for token in template.tokens if not isinstance(token, str)]
        imported = [node.module, *template.loads]
        while imported:
            name = imported.pop()
            if name not in loaded | not_hashed and file_of(name) is not None:
                loaded.add(name)
                imported += source(name).imported
                waiting += [Node("effect", name, str(index)) for index in range(len(source(name).effects))]
    return seen


def _digests(nodes: set[Node]) -> dict[Node, str]:
    """The digest of every node, given all that any of them refers to, apart from what is not hashed.

    Definitions that refer to each other in a circle have no first one. They begin alike, and take each other's digests
    in as many rounds as they are many, after which two are equal only if no path from them tells them apart.
    """
    known: dict[Node, str] = {}
    for circle in _circles(nodes):
        digests = dict.fromkeys(circle, "circle")
        for _ in circle:
            digests = {node: _digest(_template(node), ChainMap(digests, known)) for node in circle}
        known |= digests
    return known


def _digest(template: _Template, known: Mapping[Node, str]) -> str:
    parts = [token if isinstance(token, str) else known.get(token, "not hashed") for token in template.tokens]
    return hashlib.sha256("\0".join(sorted(parts) if template.unordered else parts).encode()).hexdigest()


def _circles(nodes: set[Node]) -> list[list[Node]]:
    """The strongly connected components of the nodes, each after those it refers to."""
    references = networkx.DiGraph()
    references.add_nodes_from(nodes)
    references.add_edges_from((node, token) for node in nodes for token in _template(node).tokens if token in nodes)
    circles = networkx.condensation(references)
    return [list(circles.nodes[at]["members"]) for at in reversed(list(networkx.topological_sort(circles)))]


@dataclass
class _Template:
    """A node as text, with the nodes it refers to in their places."""

    tokens: list[Token] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)  # modules that it imports when it is executed
    unordered: bool = False


@cache
def _template(node: Node) -> _Template:
    if node.kind == "data":
        return _Template([hashlib.sha256(Path(node.module).read_bytes()).hexdigest()])
    if node.kind == "definition":
        statements = source(node.module).definitions.get(node.name) if file_of(node.module) else None
        if statements is None:  # of another project, or made at run time: known by its name alone
            return _Template([f"{node.module}.{node.name}"])
        return _Writer(node.module, node.name).written(statements)
    if node.kind == "effect":
        return _Writer(node.module, "").written([source(node.module).effects[int(node.name)]])
    if node.kind == "module":
        definitions: list[Token] = [Node("definition", node.module, name) for name in source(node.module).definitions]
        return _Template(definitions, [node.module], unordered=True)
    found = modules_in(node.module)
    stems = [name.rpartition(".")[2] if node.kind == "folder by name" else "module" for name in found]
    return _Template([token for stem, name in zip(stems, found, strict=True) for token in (stem, Node("module", name))])


class _Scope:
    """The names bound in a function or comprehension, each with a number once it is met, and its imports."""

    def __init__(self, names: set[str], imports: dict[str, str]) -> None:
        self.names, self.imports = names, imports
        self._numbers: dict[str, int] = {}

    def number(self, name: str) -> int:
        return self._numbers.setdefault(name, len(self._numbers))


class _Writer:
    def __init__(self, module: str, name: str) -> None:
        self._source, self._name = source(module), name
        self._scopes: list[_Scope] = []
        self._template = _Template()

    def written(self, statements: list[ast.stmt]) -> _Template:
        """The statements, without docstrings; fields that are empty, which versions differ in, are left out."""
        self._folders = [self._source.file.parent, *self._packages(statements)]
        for statement in statements:
            self._write(statement)
        return self._template

    def _packages(self, statements: list[ast.stmt]) -> Iterator[Path]:
        """The folders of packages that the statements name in texts: their data files may lie there."""
        for statement in statements:
            for node in ast.walk(statement):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and (file := file_of(node.value)):
                    yield file.parent

    def _put(self, *tokens: Token) -> None:
        self._template.tokens += tokens

    def _write(self, node: ast.AST) -> None:
        if isinstance(node, ast.Name | ast.Attribute):
            self._write_name(node)
        elif isinstance(node, ast.Constant):
            self._write_constant(node.value)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            self._template.loads += imported_by(node, self._source)
        elif isinstance(node, _SCOPES):
            self._write_function(node)
        elif isinstance(node, _Comprehension):
            self._write(node.generators[0].iter)  # Python looks this up outside
            targets = {part.id for part in _targets(node) if isinstance(part, ast.Name)}
            self._inside(_Scope(targets, {}), lambda: self._write_fields(node))
        elif isinstance(node, ast.stmt) and is_text(node):
            pass
        else:
            self._write_fields(node)

    def _write_fields(self, node: ast.AST, *left_out: str) -> None:
        self._put(f"({type(node).__name__}")
        for name, value in ast.iter_fields(node):
            if name in left_out or value is None or value == []:
                continue
            self._put(f" {name}=")
            for item in value if isinstance(value, list) else [value]:
                self._write(item) if isinstance(item, ast.AST) else self._put(self._plain(node, name, item))
        self._put(")")

    def _plain(self, node: ast.AST, field_name: str, value: object) -> str:
        """A field that is no tree; some of them are names that the node binds."""
        if isinstance(value, str) and field_name == "name" and not isinstance(node, ast.alias):
            return self._local(value) or (value if self._scopes or value != self._name else "itself")
        return f"{type(value).__name__}:{value!r},"

    def _write_function(self, node: Function | ast.Lambda) -> None:
        """Decorators, defaults and annotations belong to the scope around a function, the rest to its own."""
        if not isinstance(node, ast.Lambda):
            self._put(self._plain(node, "name", node.name))
            for decorator in node.decorator_list:
                self._write(decorator)
        arguments = [part for part in ast.walk(node.args) if isinstance(part, ast.arg)]
        scope = _Scope(*self._bound_in(node, {argument.arg for argument in arguments}))
        for argument in arguments:
            self._put(f"{argument.arg},")
            scope.number(argument.arg)
        annotations = (*(argument.annotation for argument in arguments), getattr(node, "returns", None))
        for part in filter(None, (*node.args.defaults, *node.args.kw_defaults, *annotations)):
            self._write(part)
        self._put(*(f"{len(getattr(node.args, kind))}" for kind in ("posonlyargs", "args", "kwonlyargs", "defaults")))
        self._put(f"{bool(node.args.vararg)}{bool(node.args.kwarg)}", *(str(d is None) for d in node.args.kw_defaults))
        self._inside(scope, lambda: self._write_fields(node, "name", "decorator_list", "args", "returns"))

    def _inside(self, scope: _Scope, write: Callable[[], None]) -> None:
        self._scopes.append(scope)
        write()
        self._scopes.pop()

    def _bound_in(self, node: Function | ast.Lambda, names: set[str]) -> tuple[set[str], dict[str, str]]:
        """The local names of a function beside its arguments, and the origins of those it imports."""
        imports: dict[str, str] = {}
        declared: set[str] = set()
        for part in _in_scope(node.body if isinstance(node.body, list) else [node.body]):
            if isinstance(part, ast.Import | ast.ImportFrom):
                imports |= bound_by(part, self._source)
            elif isinstance(part, ast.Global | ast.Nonlocal):
                declared.update(part.names)
            elif isinstance(part, ast.Name) and not isinstance(part.ctx, ast.Load):
                names.add(part.id)
            elif not isinstance(part, ast.alias):
                names.update(n for n in (getattr(part, "name", None), getattr(part, "rest", None)) if n)
        return names - declared, imports

    def _write_constant(self, value: object) -> None:
        if isinstance(value, str) and "." in value and "\n" not in value and len(value) < 200:
            if file_of(value) is not None and not is_package(value):
                return self._put(Node("module", value))
            for file in (folder / value for folder in self._folders if not value.endswith(".py")):
                if file.is_file() and file.resolve().is_relative_to(ROOT):
                    return self._put(Node("data", str(file)))
        return self._put(f"{type(value).__name__}:{value!r},")

    def _write_name(self, node: ast.Name | ast.Attribute) -> None:
        """A name with the attributes that follow it, as far as they lead through modules of this project."""
        parts: list[str] = []
        inner: ast.expr = node
        while isinstance(inner, ast.Attribute):
            parts.insert(0, inner.attr)
            inner = inner.value
        if not isinstance(inner, ast.Name):
            self._put(f"(.{node.attr}")  # type: ignore[union-attr] # it is an attribute of something that is no name
            self._write(node.value)  # type: ignore[union-attr]
            return self._put(")")
        token, rest = self._resolved(inner.id, parts)
        return self._put(token, *(f".{part}" for part in rest), type(node.ctx).__name__)

    def _resolved(self, name: str, attributes: list[str]) -> tuple[Token, list[str]]:
        for scope in reversed(self._scopes):
            if name in scope.imports:
                return _origin(scope.imports[name], attributes)
            if name in scope.names:
                return self._local(name), attributes
        if name in self._source.imports:
            return _origin(self._source.imports[name], attributes)
        if name == self._name:
            return "itself", attributes
        if name in self._source.definitions:
            return Node("definition", self._source.name, name), attributes
        return name, attributes  # built in

    def _local(self, name: str) -> str:
        """The number of a local variable and of the scope it lives in; empty for any other name."""
        for depth in reversed(range(len(self._scopes))):
            if name in self._scopes[depth].names:
                return f"local {depth}.{self._scopes[depth].number(name)}"
        return ""


def _in_scope(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """All nodes of a function's own scope; of functions and classes inside it only their names belong there."""
    for node in nodes:
        yield node
        if isinstance(node, _Comprehension):
            targets = set(map(id, _targets(node)))
            yield from (n for n in _in_scope(ast.iter_child_nodes(node)) if id(n) not in targets)
        elif not isinstance(node, (*_SCOPES, ast.ClassDef)):
            yield from _in_scope(ast.iter_child_nodes(node))


def _targets(node: _Comprehension) -> Iterator[ast.AST]:
    return (part for generator in node.generators for part in ast.walk(generator.target))


def _origin(dotted: str, attributes: list[str]) -> tuple[Token, list[str]]:
    """What a dotted origin followed by attributes names: a definition, a whole module, or another project's name."""
    while attributes and file_of(dotted) is not None and file_of(f"{dotted}.{attributes[0]}") is not None:
        dotted, attributes = f"{dotted}.{attributes[0]}", attributes[1:]
    if file_of(dotted) is not None:
        return _of_module(dotted, attributes)
    module, _, name = dotted.rpartition(".")
    if file_of(module) is None:
        return dotted, attributes
    found = source(module)
    if name not in found.definitions and name in found.imports:
        return _origin(found.imports[name], attributes)  # passed on
    return Node("definition", module, name if name in found.definitions else "__getattr__"), attributes


def _of_module(module: str, attributes: list[str]) -> tuple[Token, list[str]]:
    """A module itself, or what follows it."""
    if attributes and not attributes[0].startswith("__"):
        return _origin(f"{module}.{attributes[0]}", attributes[1:])
    if not is_package(module):
        return Node("module", module), attributes
    return Node("folder by name" if attributes[:1] == ["__name__"] else "folder", module), attributes
