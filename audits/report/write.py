"""The one module that writes what users read: whole files or none, regular files only, links followed.

A descriptor that is open already (`/dev/stdout`, `/dev/fd/3`, a link to one) is written through. Anything else that is
there and is no regular file (a device, a pipe, a folder) is refused: a rename over it would destroy it.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
import stat
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

STANDARD_OUTPUT = 1
_MOST_LINKS = 40  # as many as Linux follows
# Host and process are part of the name, so that what a dead process left is known as such; "x" opens with O_EXCL.
_HOST = f"{zlib.crc32(socket.gethostname().encode()):08x}"
_TEMPORARY = re.compile(rf"\.hubrouter-audit-{_HOST}-(\d+)-[0-9a-f]+\.tmp")


class ReportError(Exception):
    """A report cannot be written; the message is one line that says where, why and how to mend it."""


@contextmanager
def _one_line(what: str, remedy: str = "") -> Iterator[None]:
    """Turn an error of the system, while doing this, into a ReportError."""
    try:
        yield
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ReportError(f"cannot {what}: {why}{remedy}") from error


@dataclass(frozen=True)
class Destination:
    """Where a text goes: a regular file, there or not, or an open descriptor."""

    file: Path
    descriptor: int | None = None


def write_text(path: Path, text: str) -> None:
    """Write one file whole, or raise ReportError and leave what was there."""
    write_texts({path: text})


def check_writable(path: Path) -> Destination:
    """Before the work: where a file would be written, or ReportError; makes and changes nothing."""
    with _one_line(f"write {path}", "; choose another place"):
        destination = _destination(path)
        folder = next(parent for parent in destination.file.parents if parent.exists())
        if destination.descriptor is None and not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
            raise OSError(None, f"{folder} is no folder that you may write to")
    return destination


def write_texts(texts: Mapping[Path, str]) -> list[Path]:
    """Write every text to a temporary file of its folder, and rename all of them once the last is on the disk.

    Raises:
        ReportError: a folder or file cannot be written. Files that were there before are then whole, old or new.
    """
    temporary: dict[Path, Path] = {}  # by the file that it becomes
    streams: dict[int, str] = {}
    remedy = "; free the disk or choose a folder you may write to"
    try:
        for path, text in texts.items():
            with _one_line(f"write {path}", remedy):
                destination = _destination(path)
                if destination.descriptor is not None:
                    streams[destination.descriptor] = text
                    continue
                # The same file by another name: the last text counts.
                if earlier := temporary.pop(destination.file, None):
                    earlier.unlink()
                destination.file.parent.mkdir(parents=True, exist_ok=True)
                _remove_leftovers(destination.file.parent)
                name = f".hubrouter-audit-{_HOST}-{os.getpid()}-{secrets.token_hex(4)}.tmp"
                temporary[destination.file] = destination.file.with_name(name)
                _write_whole(temporary[destination.file], text, destination.file)
        for path, made in temporary.items():
            with _one_line(f"write {path}", remedy):
                made.replace(path)
        for descriptor, text in streams.items():
            write_through(descriptor, text)
    finally:
        for made in temporary.values():
            with suppress(OSError):  # a disk that refuses even that has been reported already
                made.unlink(missing_ok=True)
    return list(texts)


def write_below(folder: Path, texts: Mapping[str, str]) -> list[Path]:
    """Write texts below a folder; ReportError also where a name, which may come from a record, leads out of it."""
    for name in texts:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ReportError(f"cannot write {name!r}: it lies outside {folder}; a record that names it is not ours")
    return write_texts({folder / name: text for name, text in texts.items()})


def write_through(descriptor: int, text: str) -> None:
    """Write to an open descriptor, after what was printed before, or raise ReportError where it is closed or full."""
    name = "standard output" if descriptor == STANDARD_OUTPUT else f"descriptor {descriptor}"
    with _one_line(f"write to {name}"):
        if descriptor == STANDARD_OUTPUT and sys.stdout is not None:
            sys.stdout.flush()
            if (binary := getattr(sys.stdout, "buffer", None)) is not None:
                binary.write(_encoded(text))
                sys.stdout.flush()
                return
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(_encoded(text))


def discard(descriptor: int) -> None:
    """From here on a descriptor, open or not, is the null device."""
    null = os.open(os.devnull, os.O_RDWR)
    if null == descriptor:
        os.set_inheritable(null, True)
        return
    os.dup2(null, descriptor, inheritable=True)
    os.close(null)


def append_text(path: Path, text: str) -> None:
    """Append to a regular file, or raise ReportError."""
    with _one_line(f"append to {path}"):
        destination = _destination(path)
        if destination.descriptor is not None:
            write_through(destination.descriptor, text)
            return
        with destination.file.open("ab") as file:
            file.write(_encoded(text))


def remove_files(paths: Iterable[Path]) -> None:
    """Remove the files that are there, or raise ReportError."""
    for path in paths:
        with _one_line(f"remove {path}"):
            path.unlink(missing_ok=True)


def _destination(path: Path) -> Destination:
    """Where a path leads; OSError where that is no regular file, or a circle."""
    at = Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow /dev/stdout to what is behind it
    for _ in range(_MOST_LINKS):
        at = Path(os.path.realpath(at.parent), at.name)
        if re.fullmatch(r"/proc/\d+(/task/\d+)?/fd/\d+", str(at)) or re.fullmatch(r"/dev/fd/\d+", str(at)):
            return _open_descriptor(at)
        if not at.is_symlink():
            break
        at = at.parent / at.readlink()
    else:
        raise OSError(None, "its links lead in a circle")
    with suppress(FileNotFoundError):
        mode = at.lstat().st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(None, "a folder has this name")
        if not stat.S_ISREG(mode):
            raise OSError(None, "it is there already, and is no regular file")
    return Destination(at)


def _open_descriptor(at: Path) -> Destination:
    """One of our own that is open and can be written."""
    if at.parts[1] == "proc" and at.parts[2] != str(os.getpid()):
        raise OSError(None, "it belongs to another process")
    descriptor = int(at.name)
    os.fstat(descriptor)
    return Destination(at, descriptor)


def _write_whole(path: Path, text: str, becomes: Path) -> None:
    """Write a new file, with the permissions of the one that it replaces, and force it to the disk."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    with os.fdopen(os.open(path, flags, 0o666), "wb") as file:
        file.write(_encoded(text))
        file.flush()
        with suppress(FileNotFoundError, PermissionError):
            path.chmod(stat.S_IMODE(becomes.stat().st_mode))
        os.fsync(file.fileno())  # where a full disk shows


def _encoded(text: str) -> bytes:
    """UTF-8; what no encoding has, a lone surrogate, as an escape."""
    return text.encode("utf-8", "backslashreplace")


def _remove_leftovers(folder: Path) -> None:
    """Remove temporary files of processes of this machine that were killed."""
    for name in os.listdir(folder):  # noqa: PTH208 - names alone
        found = _TEMPORARY.fullmatch(name)
        if found and not _runs(int(found[1])):
            with suppress(OSError):
                (folder / name).unlink()


def _runs(process: int) -> bool:
    try:
        if os.name == "posix":  # elsewhere signal 0 is no question
            os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True
