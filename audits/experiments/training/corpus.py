"""Text to train on: this Python's own standard library, a file or a dataset, as byte-level BPE tokens.

The tokeniser is trained on the training part alone, and no stretch of text is in both parts, so that the validation
loss measures prediction and not memory. Tokens are cached, because many worker processes want the same ones.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import math
import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from audits.evidence.machine import cache_folder
from audits.experiments.training.corpora.dataset import DATASET_PREFIX, read_dataset
from audits.experiments.training.corpora.file import read_file
from audits.experiments.training.corpora.library import read_standard_library
from audits.experiments.training.corpora.prose import PROSE, read_prose
from audits.experiments.training.corpora.text import CorpusError, Text

__all__ = ["Corpus", "CorpusError", "load_corpus"]

if TYPE_CHECKING:
    from tokenizers import Tokenizer

DEFAULT_VOCAB_SIZE = 1024
BYTES = 256  # a byte-level vocabulary holds every byte, so that any text can be written with it
CACHE_FORMAT = 1  # part of the cache's key: raise it when the split or the stored arrays change

_DAMAGE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, eq=False)
class Corpus:
    """Tokens in two parts that share no text.

    Attributes:
        name: the library's version or the file's name, without its folder.
        sha256: of the file's bytes; for the default, of every file's path and bytes.
        n_bytes: size of the whole text in bytes.
        train: int64 [tokens], the training part.
        valid: int64 [tokens], the validation part.
        vocab_size: token values are below it; less than asked for where the text holds too few pairs to merge.
        valid_bytes: size of the validation part in bytes.
    """

    name: str
    sha256: str
    n_bytes: int
    train: Tensor
    valid: Tensor
    vocab_size: int
    valid_bytes: int

    def bits_per_byte(self, nats_per_token: float) -> float:
        """A validation loss that can be compared between vocabularies."""
        return nats_per_token * self.valid.numel() / (self.valid_bytes * math.log(2))

    def require(self, seq_len: int, batch: int) -> None:
        """Check that a training batch and a validation window can be cut from it.

        Raises:
            CorpusError: where either part is too short.
        """
        for part, tokens, needed in (
            ("training", self.train, batch * seq_len + 1),
            ("validation", self.valid, seq_len + 1),
        ):
            if tokens.numel() < needed:
                raise CorpusError(
                    f"corpus {self.name}: its {part} part has {tokens.numel()} tokens, but sequences of {seq_len} in "
                    f"batches of {batch} need {needed}; give a longer text"
                )


@dataclass(frozen=True, eq=False)
class _Tokens:
    """What the cache holds: both parts, the actual vocabulary, and the bytes the validation part was made of."""

    train: npt.NDArray[np.int64]
    valid: npt.NDArray[np.int64]
    vocab_size: int


def load_corpus(path: str | None = None, vocab_size: int = DEFAULT_VOCAB_SIZE) -> Corpus:
    """Read, split and tokenise a corpus, from the cache where it was done before.

    Args:
        path: a UTF-8 text file, or `hf:NAME[:CONFIG]` for a dataset of the Hugging Face Hub or a folder of one;
            `python:prose` is the running Python's documentation and docstrings, None its standard library.
        vocab_size: tokens wanted, at least 256.

    Raises:
        CorpusError: where the text cannot be read or used.
    """
    if vocab_size < BYTES:
        raise CorpusError(f"vocabulary size {vocab_size} is too small: a byte-level vocabulary needs at least {BYTES}")
    text = _read(path)
    tokens = _cached(text, vocab_size)
    valid_bytes = _size(text.valid)
    return Corpus(
        name=text.name,
        sha256=text.sha256,
        n_bytes=_size(text.train) + valid_bytes,
        train=torch.from_numpy(tokens.train),
        valid=torch.from_numpy(tokens.valid),
        vocab_size=tokens.vocab_size,
        valid_bytes=valid_bytes,
    )


def _read(path: str | None) -> Text:
    """The text, from where the user said."""
    if path is None:
        return read_standard_library()
    if path == PROSE:
        return read_prose()
    return read_dataset(path) if path.startswith(DATASET_PREFIX) else read_file(Path(path))


def _size(documents: tuple[str, ...]) -> int:
    """UTF-8 bytes of the documents."""
    return sum(len(document.encode()) for document in documents)


def _train_tokeniser(documents: tuple[str, ...], vocab_size: int) -> Tokenizer:
    """A byte-level BPE vocabulary (the pre-tokeniser of GPT-2) learnt from the documents; deterministic."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokeniser = Tokenizer(models.BPE())
    tokeniser.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokeniser.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, initial_alphabet=alphabet, show_progress=False)
    tokeniser.train_from_iterator(documents, trainer)
    return tokeniser


def _encode(tokeniser: Tokenizer, documents: tuple[str, ...]) -> npt.NDArray[np.int64]:
    """The documents' tokens end to end; no document's tokens depend on another's text."""
    parts = [np.asarray(encoding.ids, np.int64) for encoding in tokeniser.encode_batch_fast(list(documents))]
    return np.concatenate([np.empty(0, np.int64), *parts])


def _tokenise(text: Text, vocab_size: int) -> _Tokens:
    """Both parts, in a vocabulary that the validation part had no say in."""
    tokeniser = _train_tokeniser(text.train, vocab_size)
    return _Tokens(_encode(tokeniser, text.train), _encode(tokeniser, text.valid), tokeniser.get_vocab_size())


def _cached(text: Text, vocab_size: int) -> _Tokens:
    """The text's tokens; a missing, damaged or unwritable cache costs time and nothing else."""
    folder = cache_folder()
    if folder is None:
        return _tokenise(text, vocab_size)
    key = f"{text.name}-{text.sha256}-{vocab_size}-tokenizers{version('tokenizers')}-format{CACHE_FORMAT}"
    file = folder / f"corpus-{hashlib.sha256(key.encode()).hexdigest()[:32]}.npz"
    with _locked(file.with_suffix(".lock")):
        tokens = _load(file)
        if tokens is None:
            tokens = _tokenise(text, vocab_size)
            with contextlib.suppress(OSError):
                _save(file, tokens)
    return tokens


@contextlib.contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Hold the file's lock, so that one of many workers tokenises and the others wait; go on where it is refused."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            handle = stack.enter_context(file.open("a"))
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _load(file: Path) -> _Tokens | None:
    """What the cache holds; None where it holds nothing usable."""
    try:
        # Opened here, because numpy leaves a damaged file open.
        with file.open("rb") as handle, np.load(handle, allow_pickle=False) as arrays:
            train, valid = arrays["train"].astype(np.int64), arrays["valid"].astype(np.int64)
            vocab_size = int(arrays["vocab_size"])
    except _DAMAGE:
        return None
    in_range = all(
        part.ndim == 1 and (part.size == 0 or 0 <= part.min() <= part.max() < vocab_size) for part in (train, valid)
    )
    return _Tokens(train, valid, vocab_size) if in_range else None


def _save(file: Path, tokens: _Tokens) -> None:
    """Write under another name and rename, so that a reader never sees half a file. Tokens are stored in 32 bits."""
    descriptor, partial = tempfile.mkstemp(dir=file.parent, prefix=file.stem, suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as handle:
            np.savez(
                handle,
                train=tokens.train.astype(np.int32),
                valid=tokens.valid.astype(np.int32),
                vocab_size=np.int64(tokens.vocab_size),
            )
        Path(partial).replace(file)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
