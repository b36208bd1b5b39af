"""The one module of the report that touches the file system: whole files or none."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path


class ReportError(Exception):
    """A report cannot be written; the message is one line that says where, why and how to mend it."""


def write_text(path: Path, text: str) -> None:
    """Write one file whole, or raise ReportError and leave what was there."""
    write_texts({path: text})


def check_writable(path: Path) -> None:
    """Before the work: raise ReportError where a file could not be written; makes and changes nothing."""
    try:
        if path.exists() and not path.is_file():
            raise OSError(None, "it is there already, and is no ordinary file")
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
            raise OSError(None, f"{folder} is no folder that you may write to")
    except OSError as error:
        raise ReportError(f"cannot write {path}: {error.strerror}; choose another place") from error


def write_texts(texts: Mapping[Path, str]) -> list[Path]:
    """Write every text to a temporary file of its folder, and rename all of them once the last is on the disk.

    Raises:
        ReportError: a folder or file cannot be written. Files that were there before are then whole, old or new.
    """
    temporary = {path: path.with_name(f".{path.name}.{os.getpid()}.tmp") for path in texts}
    path = Path()
    try:
        for path, text in texts.items():
            if path.is_dir():
                raise IsADirectoryError(None, "a folder has this name", str(path))
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_whole(temporary[path], text)
        for path in texts:
            temporary[path].replace(path)
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise ReportError(f"cannot write {path}: {why}; free the disk or choose a folder you may write to") from error
    finally:
        for path in temporary.values():
            with suppress(OSError):  # a disk that refuses even that has been reported already
                path.unlink(missing_ok=True)
    return list(texts)


def append_text(path: Path, text: str) -> None:
    """Append to a file, or raise ReportError."""
    try:
        with path.open("a", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            file.write(text)
    except OSError as error:
        raise ReportError(f"cannot append to {path}: {error.strerror or type(error).__name__}") from error


def remove_files(paths: Iterable[Path]) -> None:
    """Remove the files that are there.

    Raises:
        ReportError: one cannot be removed.
    """
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise ReportError(f"cannot remove {path}: {error.strerror or type(error).__name__}") from error


def _write_whole(path: Path, text: str) -> None:
    """Write and force to the disk, where a full one shows."""
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
