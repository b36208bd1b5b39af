"""The prose that every Python ships: its documentation topics and the docstrings of its standard library."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import sysconfig
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from platform import python_version

from audits.experiments.training.corpora.library import library_files
from audits.experiments.training.corpora.text import CorpusError, Text

PROSE = "python:prose"  # the name by which it is asked for
VALIDATION_SHARE = 5  # one document of so many is for validation: the text is short (our choice)
SHORTEST = 80  # characters of a docstring that counts
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@lru_cache(maxsize=1)
def read_prose() -> Text:
    """A document for each topic and each file, assigned to a part by the hash of its name; about 2 MB.

    Raises:
        CorpusError: this Python comes without them.
    """
    digest = hashlib.sha256()
    parts: dict[bool, list[str]] = {True: [], False: []}
    for name, text in _documents():
        digest.update(f"{name}\0{text}\0".encode())
        held_out = int.from_bytes(hashlib.sha256(name.encode()).digest()) % VALIDATION_SHARE == 0
        parts[held_out].append(text)
    if not parts[True] or not parts[False]:
        raise CorpusError("this Python has neither documentation topics nor docstrings; give a text with --corpus FILE")
    return Text(f"python-{python_version()}-prose", digest.hexdigest(), tuple(parts[False]), tuple(parts[True]))


def _documents() -> Iterator[tuple[str, str]]:
    with contextlib.suppress(ImportError):
        from pydoc_data.topics import topics

        yield from sorted(topics.items())
    for name, data in library_files(Path(sysconfig.get_path("stdlib"))):
        if not name.startswith("pydoc_data/") and (text := _docstrings(data)):
            yield name, text


def _docstrings(source: bytes) -> str:
    """The longer docstrings of a file, in order; nothing where it is not Python of this version."""
    try:
        nodes = ast.walk(ast.parse(source))
    except (SyntaxError, ValueError):
        return ""
    found = (ast.get_docstring(node) or "" for node in nodes if isinstance(node, _DOCUMENTED))
    return "\n\n".join(text for text in found if len(text) >= SHORTEST)
