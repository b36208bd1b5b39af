"""The evidence ledger: JSON Lines, one finished run a line, addressed by the hash of what defines it.

A run answers a question: an experiment, its configuration (corpus included, by its content) and a seed. Its address
adds the hash of the code that defines it: a record made by other code is another run, and stale for today's question.
The line's digest covers everything in it, results too: one that was edited is refused, not read.

Lines are only ever appended, one write each under a lock, so that writers cannot interleave and a killed one can leave
nothing worse than a last line without its newline. Such a torn line is passed over on reading and cut off before the
next line is appended.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec

SCHEMA = 3
LARGEST = 2**30  # bytes of a file (our choice); the largest of ours has 3 MB
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def run_hash(experiment: str, config: dict[str, Any], seed: int, code: str = "") -> str:
    """The address of a run: SHA-256 over experiment, configuration, seed and code, its first 16 hex digits.

    Without `code` it addresses the question that runs of any code answer.
    """
    return _hash({"experiment": experiment, "config": config, "seed": seed} | ({"code": code} if code else {}))


def _hash(entry: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(entry, sort_keys=True, allow_nan=False).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Record:
    """One finished run."""

    experiment: str  # what kind of run; the name of the ledger's file
    config: dict[str, Any]  # what was asked, the corpus included
    seed: int  # of weights, data and whatever else is drawn
    result: dict[str, Any]  # what the experiment returned
    environment: dict[str, Any]  # machine, device and versions
    seconds: float  # wall-clock time of the run
    code: str = ""  # hash of the code that defines the run (`audits.evidence.code_hash`)
    commit: str = ""  # of the checkout it ran in, with a `+` where that had changes; empty where there was none
    recorded: str = ""  # when, in UTC, ISO 8601

    @cached_property
    def run(self) -> str:
        """The run's address."""
        return run_hash(self.experiment, self.config, self.seed, self.code)

    @cached_property
    def question(self) -> str:
        """What the run answers, whatever code it was made by."""
        return run_hash(self.experiment, self.config, self.seed)

    @property
    def corpus(self) -> str | None:
        """The content hash of the text the run was made on; None where it read none."""
        corpus = self.config.get("corpus")
        return str(corpus.get("sha256")) if isinstance(corpus, dict) else None

    def setting(self, varied: Collection[str]) -> dict[str, Any]:
        """The configuration without the entries `varied`."""
        return {key: value for key, value in self.config.items() if key not in varied}

    def to_line(self) -> str:
        """The record as one line of the ledger; its digest is that of what a reader finds, whose keys are texts."""
        entry = json.loads(json.dumps({"schema": SCHEMA, "run": self.run, **asdict(self)}, sort_keys=True))
        return json.dumps(entry | {"digest": _hash(entry)}, sort_keys=True, allow_nan=False) + "\n"


@dataclass(frozen=True)
class Evidence:
    """All records a judgement may read, the latest record of a run replacing earlier ones."""

    records: tuple[Record, ...] = ()

    def of(self, experiment: str) -> tuple[Record, ...]:
        """The records of one experiment, in the order of their hashes, so that reports do not depend on timing."""
        return self._by_experiment.get(experiment, ())

    def latest(self, experiment: str, *varied: str) -> tuple[Record, ...]:
        """The records that share the setting of the experiment's last record, in the order of their hashes.

        A setting is the configuration without the entries `varied`, over which the experiment compares.
        """
        last = next((r.setting(varied) for r in reversed(self.records) if r.experiment == experiment), None)
        return tuple(record for record in self.of(experiment) if record.setting(varied) == last)

    @cached_property
    def _by_experiment(self) -> dict[str, tuple[Record, ...]]:
        found: dict[str, list[Record]] = {}
        for record in self.records:
            found.setdefault(record.experiment, []).append(record)
        return {name: tuple(sorted(records, key=lambda record: record.run)) for name, records in found.items()}

    @cached_property
    def _by_question(self) -> dict[str, Record]:
        return {record.question: record for record in self.records}

    def answer(self, experiment: str, config: dict[str, Any], seed: int) -> Record | None:
        """The last record of a run, whatever code made it; None where there is none."""
        return self._by_question.get(run_hash(experiment, config, seed))

    def latest_per_question(self, codes: Mapping[str, Collection[str]]) -> Evidence:
        """One record a question: that of today's code (`codes`, by experiment) where there is one, else the last."""
        kept: dict[str, Record] = {}
        for record in self.records:
            before = kept.get(record.question)
            if before is None or not is_fresh(before, codes) or is_fresh(record, codes):
                kept.pop(record.question, None)
                kept[record.question] = record
        return Evidence(tuple(kept.values()))

    def fresh(self, codes: Mapping[str, Collection[str]]) -> Evidence:
        """The records made by today's code."""
        return Evidence(tuple(record for record in self.records if is_fresh(record, codes)))

    def at(self, tier: str) -> Evidence:
        """What a claim may read at a tier: runs of that tier, and those that are the same at every tier.

        Of each experiment only the corpus of the last record counts: perplexities on two texts are two things.
        """
        found = [record for record in self.records if record.config.get("tier", tier) == tier]
        last = {record.experiment: record.corpus for record in found}
        return Evidence(tuple(record for record in found if record.corpus == last[record.experiment]))


def is_fresh(record: Record, codes: Mapping[str, Collection[str]]) -> bool:
    """Whether the code that made the record counts as today's; an experiment that is gone has none."""
    return bool(record.code) and record.code in codes.get(record.experiment, ())


class LedgerError(Exception):
    """The ledger cannot be read or written; the message says where and how to fix it."""


@dataclass(frozen=True)
class Ledger:
    """The evidence in a folder: every `*.jsonl` is read, records are written to `<experiment>.jsonl`.

    Every method raises LedgerError where a file cannot be read or written, or holds what is no record.
    """

    folder: Path

    def read(self) -> Evidence:
        """All records in the order of recording, the latest of each run. Between files the later name counts."""
        latest: dict[str, Record] = {}
        for file in self._files():
            for record in _parse(file)[0]:
                latest.pop(record.run, None)
                latest[record.run] = record
        return Evidence(tuple(latest.values()))

    def latest(self, experiment: str, run: str) -> Record | None:
        """The latest record of a run among those that `append` wrote; None where there is none. Quicker than `read`."""
        file = self.folder / f"{experiment}.jsonl"
        found = _parse(file, about=run.encode())[0] if file.exists() else []
        return next((record for record in reversed(found) if record.run == run), None)

    def append(self, record: Record) -> None:
        """Add a record durably; on reading it replaces earlier records of the same run."""
        line = _line_of(record)
        if not _FILE_NAME.fullmatch(record.experiment):
            raise LedgerError(f"experiment {record.experiment!r} cannot name a file; use letters, digits, - and _")
        self.check_writable()
        file = self.folder / f"{record.experiment}.jsonl"
        with _open_locked(file) as descriptor:
            size = _repair_tail(file, descriptor)
            written = os.write(descriptor, line)
            if written != len(line):
                os.ftruncate(descriptor, size)
                raise LedgerError(f"{file}: no room for the record of run {record.run}; free some disk space")
            os.fsync(descriptor)

    def check_writable(self) -> None:
        """Make the folder, and find out before hours of work whether records can be written."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LedgerError(f"{self.folder}: the ledger's folder cannot be made: {error.strerror}") from None
        if not os.access(self.folder, os.W_OK | os.X_OK):
            raise LedgerError(f"{self.folder}: the ledger's folder may not be written; check its permissions")

    def _files(self) -> list[Path]:
        """The ledger's files by name; none where the folder is missing."""
        try:
            return sorted(file for file in self.folder.iterdir() if file.suffix == ".jsonl")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise LedgerError(f"{self.folder}: cannot be read: {error.strerror}") from None


@contextmanager
def _open_locked(file: Path) -> Iterator[int]:
    """A descriptor of the file to read and append, under an exclusive lock that its end releases."""
    try:
        with file.open("ab+", buffering=0) as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield handle.fileno()
    except OSError as error:
        raise LedgerError(f"{file}: cannot be written: {error.strerror}") from None


def _repair_tail(file: Path, descriptor: int) -> int:
    """End the file with a whole line, as a killed writer may have left it otherwise; its size in bytes afterwards."""
    size = os.fstat(descriptor).st_size
    if size == 0 or os.pread(descriptor, 1, size - 1) == b"\n":
        return size
    whole = _parse(file)[1]
    if whole == size:  # only the newline is missing
        os.write(descriptor, b"\n")
        return size + 1
    os.ftruncate(descriptor, whole)
    return whole


def _parse(file: Path, about: bytes = b"") -> tuple[list[Record], int]:
    """A file's records in the order of its lines, and where its whole lines end, in bytes.

    A torn last line is left out; empty lines, and those that do not contain `about`, are passed over.
    """
    records, end = list[Record](), 0
    for number, line in enumerate(BytesIO(_content(file)), 1):
        if line.strip() and about in line:
            place = f"{file}, line {number}"
            try:
                entry = msgspec.json.decode(line)
            except (msgspec.DecodeError, RecursionError):
                if not line.endswith(b"\n"):
                    break
                raise LedgerError(f"{place}: damaged, not a record; restore the line or delete it") from None
            records.append(_checked(place, entry))
        end += len(line)
    return records, end


def _content(file: Path) -> bytes:
    try:
        if not file.is_file():  # opening a pipe would wait for ever
            raise LedgerError(f"{file}: cannot be read: no regular file; move it away")
        if file.stat().st_size > LARGEST:
            raise LedgerError(f"{file}: cannot be read: larger than {LARGEST} bytes; move it away")
        return file.read_bytes()
    except OSError as error:
        raise LedgerError(f"{file}: cannot be read: {error.strerror}") from None


def _checked(place: str, entry: Any) -> Record:
    """The record in a parsed line, its schema, fields, address and digest verified."""
    schema = entry.get("schema") if isinstance(entry, dict) else None
    if schema != SCHEMA:
        raise LedgerError(
            f"{place}: schema {schema!r:.40} is not the known {SCHEMA}; update this program if it is a later one, else "
            "delete the line, and its run is repeated"
        )
    try:
        if wrong := entry.keys() ^ {"schema", "run", "digest", *Record.__dataclass_fields__}:
            raise ValueError(f"missing or unknown: {sorted(wrong)!r:.200}")
        record = msgspec.convert(entry, Record)
        run, digest = record.run, _hash({name: value for name, value in entry.items() if name != "digest"})
    except (ValueError, RecursionError) as error:  # numbers that JSON cannot hold and lists too deep among them
        raise LedgerError(f"{place}: damaged ({error}); restore the line or delete it") from None
    if entry["run"] != run:
        raise LedgerError(f"{place}: its address does not match experiment, config, seed and code; restore the line")
    if entry["digest"] != digest:
        raise LedgerError(f"{place}: edited, its digest does not match; restore the line or delete it")
    return record


def _line_of(record: Record) -> bytes:
    """The record's line, known to read back as the same run."""
    place = f"record of experiment {record.experiment}, seed {record.seed}"
    try:
        line = record.to_line().encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise LedgerError(f"{place}: cannot be written as JSON: {error}") from None
    entry = json.loads(line)
    if run_hash(entry["experiment"], entry["config"], entry["seed"], entry["code"]) != record.run:
        raise LedgerError(f"{place}: its config reads back differently from JSON; use texts as keys")
    _checked(place, entry)
    return line
