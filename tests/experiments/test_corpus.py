"""The corpus: no text in both parts, the same tokens everywhere, and one clear line for what cannot be used."""

import hashlib
import math
import os
import sysconfig
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

import audits.experiments.training.corpora.library
import audits.experiments.training.corpus
from audits.evidence.machine import cache_folder
from audits.experiments.training.corpora.file import read_file
from audits.experiments.training.corpora.library import read_standard_library
from audits.experiments.training.corpora.prose import read_prose
from audits.experiments.training.corpus import Corpus, CorpusError, load_corpus

WORDS = "the hub reads every token and no token reads the hub before its time\n"


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("HUBROUTER_AUDIT_CACHE", str(folder))
    return folder


@pytest.fixture
def text(tmp_path: Path) -> Path:
    file = tmp_path / "words.txt"
    file.write_text("".join(f"{number}: {WORDS}" for number in range(3000)) + "é\n", encoding="utf-8")
    return file


def same(one: Corpus, other: Corpus) -> bool:
    fields = ("name", "sha256", "n_bytes", "vocab_size", "valid_bytes")
    equal = all(getattr(one, field) == getattr(other, field) for field in fields)
    return equal and torch.equal(one.train, other.train) and torch.equal(one.valid, other.valid)


def test_the_default_is_the_running_pythons_standard_library() -> None:
    read = read_standard_library()
    train, valid = (sum(map(len, part)) for part in (read.train, read.valid))
    assert read.name.startswith("python-3.")
    assert 5e6 < train < 3e7
    assert 0.02 < valid / (train + valid) < 0.1
    assert read == read_standard_library()


def test_library_sources_become_tokens_in_two_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    encodings = Path(sysconfig.get_path("stdlib"), "encodings")  # a part of the library, to be quick
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(encodings))
    corpus = load_corpus()
    assert corpus.vocab_size == 1024
    assert corpus.train.dtype == corpus.valid.dtype == torch.int64
    assert corpus.train.numel() > 100_000
    assert 900 < int(corpus.train.max()) < 1024
    assert 0 < corpus.valid_bytes < corpus.n_bytes
    corpus.require(seq_len=512, batch=64)


def test_the_default_has_no_tests_or_installed_packages_in_it() -> None:
    root = Path(sysconfig.get_path("stdlib"))
    names = [name for name, _ in audits.experiments.training.corpora.library.library_files(root)]
    assert {"abc.py", "json/decoder.py", "unittest/mock.py"} <= set(names)
    assert names == sorted(names)
    assert not any("/test/" in f"/{name}" or "site-packages" in name or "_sysconfigdata" in name for name in names)


def test_the_default_split_depends_on_the_paths_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    for number in range(200):
        (tmp_path / f"module{number}.py").write_text(f"# unique{number}\n")
    (tmp_path / "broken.py").write_bytes(b"\xff\xfe")
    first = read_standard_library()
    (tmp_path / "another.py").write_text("# unique200\n")
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "skipped.py").write_text("# unique201\n")
    second = read_standard_library()
    assert len(first.train) + len(first.valid) == 200
    assert len(second.train) + len(second.valid) == 201
    assert set(first.valid) <= set(second.valid)
    assert set(first.train) <= set(second.train)
    assert not set(first.train) & set(first.valid)
    assert first.sha256 != second.sha256


def test_a_python_without_library_sources_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(CorpusError, match=r"no standard library sources.*--corpus FILE"):
        load_corpus()


def test_a_file_is_split_into_contiguous_parts_that_lose_nothing(text: Path) -> None:
    data = text.read_text(encoding="utf-8")
    read = read_file(text)
    assert "".join((*read.train, *read.valid)) == data
    assert len("".join(read.valid)) == 32_768
    corpus = load_corpus(str(text), 300)
    assert corpus.name == "words.txt"
    assert corpus.sha256 == hashlib.sha256(text.read_bytes()).hexdigest()
    assert corpus.n_bytes == text.stat().st_size
    assert corpus.valid_bytes == len("".join(read.valid).encode())


def test_a_long_files_last_twentieth_is_for_validation(tmp_path: Path) -> None:
    file = tmp_path / "long.txt"
    file.write_text("a b\n" * 200_000)
    assert len("".join(read_file(file).valid)) == 40_000


def test_the_vocabulary_is_learnt_from_the_training_part_alone(tmp_path: Path) -> None:
    files = [tmp_path / "one.txt", tmp_path / "two.txt"]
    for file, ending in zip(files, ("zebra ", "quokka"), strict=True):
        file.write_text(WORDS * 1000 + ending * 2000)
    one, two = (load_corpus(str(file), 400) for file in files)
    assert read_file(files[0]).train == read_file(files[1]).train
    assert torch.equal(one.train, two.train)
    assert not torch.equal(one.valid, two.valid)


def test_tokens_spell_the_text_even_with_bytes_the_training_part_lacks(text: Path) -> None:
    read = read_file(text)
    tokeniser = audits.experiments.training.corpus._train_tokeniser(read.train, 300)
    corpus = load_corpus(str(text), 300)
    assert tokeniser.decode(corpus.valid.tolist()) == "".join(read.valid)
    assert "é" in read.valid[-1]


def test_bits_per_byte_of_a_uniform_guess_over_bytes_are_eight(text: Path) -> None:
    corpus = load_corpus(str(text), 256)
    assert corpus.vocab_size == 256
    assert corpus.valid.numel() == corpus.valid_bytes
    assert corpus.bits_per_byte(math.log(256)) == pytest.approx(8)


def test_the_second_load_comes_from_the_cache(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_corpus(str(text), 300)
    with monkeypatch.context() as patch:
        patch.setattr(audits.experiments.training.corpus, "_tokenise", None)
        assert same(load_corpus(str(text), 300), first)
    assert load_corpus(str(text), 301).vocab_size == 301
    text.write_text(WORDS * 2000)
    assert not same(load_corpus(str(text), 300), first)


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "out of range"])
def test_a_damaged_cache_is_rebuilt(text: Path, cache: Path, damage: str) -> None:
    first = load_corpus(str(text), 300)
    (file,) = cache.glob("*.npz")
    data = bytearray(file.read_bytes())
    match damage:
        case "cut":
            file.write_bytes(data[: len(data) // 2])
        case "flip":
            data[len(data) // 2] ^= 1
            file.write_bytes(data)
        case "empty":
            file.write_bytes(b"")
        case "out of range":
            file.unlink()
            audits.experiments.training.corpus._save(
                file, audits.experiments.training.corpus._Tokens(first.train.numpy() + 999, first.valid.numpy(), 300)
            )
    assert audits.experiments.training.corpus._load(file) is None
    assert same(load_corpus(str(text), 300), first)
    assert audits.experiments.training.corpus._load(file) is not None


def test_a_cache_that_cannot_be_written_costs_time_only(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_corpus(str(text), 300)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HUBROUTER_AUDIT_CACHE", str(tmp_path / "file"))
    assert same(load_corpus(str(text), 300), first)

    def refuse(*_: Any) -> None:
        raise PermissionError

    monkeypatch.setenv("HUBROUTER_AUDIT_CACHE", str(tmp_path / "other"))
    monkeypatch.setattr(audits.experiments.training.corpus, "_save", refuse)
    assert same(load_corpus(str(text), 300), first)


def test_a_failed_write_leaves_nothing_in_the_cache(text: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("no space")))
    load_corpus(str(text), 300)
    assert [path.suffix for path in cache.iterdir()] == [".lock"]


def test_of_two_that_want_the_same_tokens_one_makes_them_and_the_other_waits(
    text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenise, made, together = audits.experiments.training.corpus._tokenise, [], threading.Barrier(2)

    def noted(*arguments: Any) -> Any:
        made.append(1)
        time.sleep(0.2)  # long enough for the other to ask
        return tokenise(*arguments)

    def load() -> Corpus:
        together.wait()
        return load_corpus(str(text), 300)

    monkeypatch.setattr(audits.experiments.training.corpus, "_tokenise", noted)
    with ThreadPoolExecutor(2) as pool:
        one, other = (future.result() for future in [pool.submit(load), pool.submit(load)])
    assert same(one, other)
    assert made == [1]


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder() == Path(os.environ["HUBROUTER_AUDIT_CACHE"])
    monkeypatch.delenv("HUBROUTER_AUDIT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder() == Path("/somewhere/hubrouter-audit")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/anyone")
    assert cache_folder() == Path("/home/anyone/.cache/hubrouter-audit")


def test_a_user_without_a_home_has_no_cache_and_still_a_corpus(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audits.experiments.training.corpus, "cache_folder", lambda: None)
    assert load_corpus(str(text), 300).vocab_size == 300


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "does not exist"),
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"caf\xe9 latin", "is not UTF-8 text"),
        (b"\x89PNG\r\n", "is not UTF-8 text"),
        (b"a\0b", "NUL"),
    ],
)
def test_an_unusable_file_is_one_clear_line(tmp_path: Path, content: bytes | None, says: str) -> None:
    file = tmp_path / "given.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(CorpusError, match=rf"given\.txt .*{says}.*; ") as caught:
        load_corpus(str(file))
    assert "\n" not in str(caught.value)


def test_a_folder_a_pipe_and_an_impossible_path_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, says in ((tmp_path, "folder"), (tmp_path / "pipe", "regular file"), ("a\0b", "cannot be read")):
        with pytest.raises(CorpusError, match=says):
            load_corpus(str(path))


def test_an_unreadable_file_is_one_clear_line(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> bytes:
        raise PermissionError

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(CorpusError, match="may not be read; check its permissions"):
        load_corpus(str(text))


def test_a_vocabulary_smaller_than_the_bytes_is_refused(text: Path) -> None:
    with pytest.raises(CorpusError, match="at least 256"):
        load_corpus(str(text), 255)


@pytest.mark.parametrize("content", ["x", "ab", "a short line", WORDS * 40])
def test_a_text_too_short_to_train_on_is_refused_when_its_size_is_known(tmp_path: Path, content: str) -> None:
    file = tmp_path / "short.txt"
    file.write_text(content)
    corpus = load_corpus(str(file))
    assert corpus.n_bytes == len(content)
    with pytest.raises(CorpusError, match=r"corpus short.txt: its (training|validation) part has \d+ tokens.*longer"):
        corpus.require(seq_len=128, batch=16)


def test_the_prose_of_python_is_a_corpus_whose_parts_share_no_document() -> None:
    text = read_prose()
    assert len(text.train) > 3 * len(text.valid) > 30
    assert not set(text.train) & set(text.valid)
    assert not any("def __init__" in part[:200] for part in text.valid[:20])
    assert sum(map(len, text.valid)) > 300_000  # room for a tuning slice and a validation slice
