"""A text dataset as a corpus, through the `datasets` library: one of the Hugging Face Hub, or a folder of its files.

The whole text is read into memory.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from audits.experiments.training.corpora.text import CorpusError, Text, blocks, cut

DATASET_PREFIX = "hf:"
TEXT_COLUMNS = ("text", "content")  # looked for in this order
HELD_OUT = ("validation", "test")  # the same for splits
ROWS = 1000  # rows read at a time
LONGEST_REASON = 200  # characters of another library's message that are passed on


def read_dataset(name: str) -> Text:
    """The text column of the splits train and validation (or test), a row a line; a lone split is cut like a file.

    Args:
        name: `hf:NAME[:CONFIG]`; NAME may be a local folder.

    Raises:
        CorpusError: `datasets` is not installed, the name cannot be loaded, or it holds no text that can be used.
    """
    source, config = _parsed(name)
    splits = _loaded(name, source, config)
    train, valid = _parts(name, {split: rows for split, rows in splits.items() if len(rows)})
    digest = hashlib.sha256(train.encode() + b"\0" + valid.encode()).hexdigest()
    shown = DATASET_PREFIX + (Path(source).resolve().name if Path(source).is_dir() else source)
    return Text(shown + (f":{config}" if config else ""), digest, blocks(train), blocks(valid))


def _parsed(name: str) -> tuple[str, str | None]:
    """NAME and CONFIG of `hf:NAME[:CONFIG]`; a folder may have colons in its name."""
    source = name.removeprefix(DATASET_PREFIX)
    if source and Path(source).is_dir():
        return source, None
    source, _, config = source.rpartition(":") if ":" in source else (source, "", "")
    if not source:
        raise CorpusError(f"corpus {name} names no dataset; give hf:NAME, hf:NAME:CONFIG or hf:FOLDER")
    return source, config or None


def _loaded(name: str, source: str, config: str | None) -> Mapping[str, Any]:
    """Every split of the dataset by its name."""
    try:
        import datasets
    except ModuleNotFoundError:
        raise CorpusError(f"corpus {name} needs the datasets library; pip install 'hubrouter-audit[corpora]'") from None
    with _silent(datasets):
        try:
            splits: Mapping[str, Any] = datasets.load_dataset(source, config)
        except Exception as error:  # whatever a network, a cache, a file format or a name can raise
            raise CorpusError(f"corpus {name} cannot be loaded: {_one_line(error)}") from None
    return splits


def _one_line(error: Exception) -> str:
    """The innermost reason, in one line of bearable length."""
    while isinstance(error.__cause__, Exception):
        error = error.__cause__
    reason = " ".join(str(error).split()) or type(error).__name__
    return reason if len(reason) <= LONGEST_REASON else f"{reason[:LONGEST_REASON]}…"


@contextlib.contextmanager
def _silent(datasets: Any) -> Iterator[None]:
    """Without the library's own progress bars, which would run through ours."""
    shown = datasets.are_progress_bars_disabled() is False
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            datasets.enable_progress_bars()


def _parts(name: str, splits: Mapping[str, Any]) -> tuple[str, str]:
    """The text to train on and the text held out."""
    held_out = next((split for split in HELD_OUT if split in splits), None)
    if "train" in splits and held_out is not None:
        parts = _joined(name, splits["train"]), _joined(name, splits[held_out])
    elif len(splits) == 1 or "train" in splits:
        parts = cut(_joined(name, splits["train"] if "train" in splits else next(iter(splits.values()))))
    elif splits:
        raise CorpusError(f"corpus {name} has no split train (it has {', '.join(splits)}); give a dataset that has one")
    else:
        raise CorpusError(f"corpus {name} is empty; give a dataset with text in it")
    if not all(part.strip() for part in parts):
        raise CorpusError(f"corpus {name} has no text in one of its parts; give a dataset with text in it")
    return parts


def _joined(name: str, rows: Any) -> str:
    """The text of all rows, each ending a line; missing texts are left out."""
    column = _text_column(name, rows.features)
    try:
        texts = [text for batch in rows.select_columns([column]).iter(ROWS) for text in batch[column] if text]
    except Exception as error:  # bytes that are no UTF-8, a cache that was removed meanwhile, ...
        raise CorpusError(f"corpus {name} cannot be read: {_one_line(error)}") from None
    return "".join(text if text.endswith("\n") else f"{text}\n" for text in texts)


def _text_column(name: str, features: Mapping[str, Any]) -> str:
    """The column named text or content, or the only one of strings."""
    strings = [column for column, kind in features.items() if "string" in str(getattr(kind, "dtype", ""))]
    for wanted in TEXT_COLUMNS:
        if wanted in strings:
            return wanted
    if len(strings) == 1:
        return strings[0]
    raise CorpusError(
        f"corpus {name} has no column named text or content and not just one of strings (its columns: "
        f"{', '.join(features)}); give a dataset with one"
    )
