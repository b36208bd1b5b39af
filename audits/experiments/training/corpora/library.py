"""The standard library of the running Python as a corpus: real text that every user has."""

from __future__ import annotations

import contextlib
import hashlib
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from platform import python_version

from audits.experiments.training.corpora.text import VALIDATION_SHARE, CorpusError, Text

# Tests and their data are repetitive or machine made; the others are no part of the library, or differ between builds.
SKIPPED_FOLDERS = frozenset({"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"})
SKIPPED_PREFIXES = ("_sysconfigdata", "config-")


def read_standard_library() -> Text:
    """Whole files, each assigned to a part by the hash of its path, so that the split survives other files coming."""
    root = Path(sysconfig.get_path("stdlib"))
    digest = hashlib.sha256()
    parts: dict[bool, list[str]] = {True: [], False: []}
    for name, data in library_files(root):
        try:
            document = data.decode("utf-8")
        except UnicodeDecodeError:
            continue
        digest.update(name.encode() + b"\0" + data + b"\0")
        held_out = int.from_bytes(hashlib.sha256(name.encode()).digest()) % VALIDATION_SHARE == 0
        parts[held_out].append(document)
    if not parts[True] or not parts[False]:
        raise CorpusError(f"this Python has no standard library sources in {root}; give a text with --corpus FILE")
    name = f"python-{python_version()}-standard-library"
    return Text(name, digest.hexdigest(), tuple(parts[False]), tuple(parts[True]))


def library_files(root: Path) -> Iterator[tuple[str, bytes]]:
    """Relative path and bytes of every source file, in the order of the paths; unreadable files are left out."""
    paths = {file.relative_to(root).as_posix(): file for file in root.rglob("*.py")}
    for name in sorted(paths):
        parts = name.split("/")
        if SKIPPED_FOLDERS.intersection(parts) or parts[0].startswith(SKIPPED_PREFIXES):
            continue
        with contextlib.suppress(OSError):
            yield name, paths[name].read_bytes()
