"""A text file of the user's as a corpus."""

from __future__ import annotations

import hashlib
from pathlib import Path

from audits.experiments.training.corpora.text import CorpusError, Text, blocks, cut


def read_file(path: Path) -> Text:
    """One file, its last twentieth for validation (more of a short one)."""
    data = _read_bytes(path)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CorpusError(f"corpus {path} is not UTF-8 text (byte {error.start}); give a plain text file") from None
    if not text.strip():
        raise CorpusError(f"corpus {path} is empty; give a file with text in it")
    if "\0" in text:
        raise CorpusError(f"corpus {path} is not text (it holds NUL bytes); give a plain text file")
    train, valid = cut(text)
    return Text(path.name, hashlib.sha256(data).hexdigest(), blocks(train), blocks(valid))


def _read_bytes(path: Path) -> bytes:
    """The file's content, or one clear line why there is none."""
    if path.is_dir():
        raise CorpusError(f"corpus {path} is a folder; give one text file")
    if path.exists() and not path.is_file():
        raise CorpusError(f"corpus {path} is not a regular file; give a plain text file")
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise CorpusError(f"corpus {path} does not exist; check the path given to --corpus") from None
    except PermissionError:
        raise CorpusError(f"corpus {path} may not be read; check its permissions") from None
    except (OSError, ValueError) as error:  # ValueError: a path no file can have
        raise CorpusError(f"corpus {path} cannot be read: {error}") from None
