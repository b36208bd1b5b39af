"""A dataset as a corpus: its own splits, its text column, offline, and one clear line for what cannot be used."""

import json
import re
import sys
from pathlib import Path

import pytest
import torch

from audits.experiments.training.corpora.dataset import read_dataset
from audits.experiments.training.corpus import CorpusError, load_corpus

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
datasets = pytest.importorskip("datasets")

LINES = [f"{number}: the hub reads every token before it" for number in range(400)]
HELD = [f"{number}: no token reads the hub" for number in range(90)]


@pytest.fixture(autouse=True)
def offline(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets"))
    monkeypatch.setenv("HUBROUTER_AUDIT_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "little:set"  # a colon also begins a configuration
    path.mkdir()
    return path


def rows(file: Path, columns: dict[str, list[object]]) -> None:
    """A parquet or JSON Lines file of the columns."""
    if file.suffix == ".parquet":
        pq.write_table(pa.table(columns), file)
    else:
        lines = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))


def text(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "txt"])
@pytest.mark.parametrize("held_out", ["validation", "test"])
def test_the_datasets_own_splits_are_used(folder: Path, kind: str, held_out: str) -> None:
    for name, lines in (("train", LINES), (held_out, HELD)):
        file = folder / f"{name}.{kind}"
        if kind == "txt":
            file.write_text(text(lines))
        else:
            rows(file, {"text": lines})
    read = read_dataset(f"hf:{folder}")
    assert ("".join(read.train), "".join(read.valid)) == (text(LINES), text(HELD))
    assert read.name == "hf:little:set"


def test_validation_comes_before_test_and_files_of_one_content_are_one_corpus(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for name, lines in (("train", LINES), ("validation", HELD), ("test", LINES[:50])):
        rows(folder / f"{name}.parquet", {"text": lines})
        rows(other / f"{name}.jsonl", {"id": list(range(len(lines))), "content": lines})
    one, two = read_dataset(f"hf:{folder}"), read_dataset(f"hf:{other}")
    assert "".join(one.valid) == text(HELD)
    assert (one.sha256, one.train, one.valid) == (two.sha256, two.train, two.valid)
    rows(other / "validation.jsonl", {"id": [1, 2], "content": HELD[:2]})
    assert read_dataset(f"hf:{other}").sha256 != one.sha256


def test_a_lone_split_is_cut_like_a_file_and_becomes_tokens(folder: Path) -> None:
    (folder / "words.txt").write_text(text(LINES))
    read = read_dataset(f"hf:{folder}")
    assert "".join((*read.train, *read.valid)) == text(LINES)
    corpus = load_corpus(f"hf:{folder}", 300)
    assert corpus.n_bytes == len(text(LINES))
    assert corpus.valid_bytes == len("".join(read.valid)) == len(text(LINES)) // 5
    assert corpus.sha256 == read.sha256
    assert corpus.train.dtype == torch.int64
    assert torch.equal(load_corpus(f"hf:{folder}", 300).train, corpus.train)


def test_missing_texts_are_left_out_and_line_ends_are_not_doubled(folder: Path) -> None:
    lines = ["first\n", None, "", "second", "é third\n"] * 20
    rows(folder / "train.parquet", {"number": list(range(100)), "story": lines})
    read = read_dataset(f"hf:{folder}")
    assert "".join((*read.train, *read.valid)) == "first\nsecond\né third\n" * 20


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"question": LINES, "answer": LINES}, "no column named text or content .*its columns: question, answer"),
        ({"number": [1, 2, 3]}, "its columns: number"),
        ({"text": [1, 2, 3], "other": [1, 2, 3]}, "its columns: text, other"),
        ({"text": ["", " ", ""]}, "no text in one of its parts"),
    ],
)
def test_columns_that_hold_no_text_are_one_clear_line(
    folder: Path, columns: dict[str, list[object]], says: str
) -> None:
    rows(folder / "train.parquet", columns)
    with pytest.raises(CorpusError, match=says) as caught:
        load_corpus(f"hf:{folder}")
    assert "\n" not in str(caught.value)


def test_an_empty_split_which_the_library_cannot_load_is_refused_in_one_line(folder: Path) -> None:
    (folder / "train.csv").write_text("text\n" + text(LINES))
    (folder / "validation.csv").write_text("text\n")
    with pytest.raises(CorpusError, match=r"cannot be loaded: .*validation") as caught:
        read_dataset(f"hf:{folder}")
    assert "\n" not in str(caught.value)


def test_splits_without_a_training_part_are_refused(folder: Path) -> None:
    for name in ("validation", "test"):
        rows(folder / f"{name}.parquet", {"text": HELD})
    with pytest.raises(CorpusError, match=r"no split train \(it has validation, test\)"):
        read_dataset(f"hf:{folder}")


def test_files_in_one_folder_can_be_configurations(tmp_path: Path) -> None:
    for name, lines in (("long", LINES), ("short", HELD)):
        (tmp_path / name).mkdir()
        rows(tmp_path / name / "train.parquet", {"text": lines})
    (tmp_path / "README.md").write_text(
        "---\nconfigs:\n- config_name: long\n  data_files: long/*.parquet\n"
        "- config_name: short\n  data_files: short/*.parquet\n---\n"
    )
    read = read_dataset(f"hf:{tmp_path}:short")
    assert "".join((*read.train, *read.valid)) == text(HELD)
    assert read.name == f"hf:{tmp_path.name}:short"
    with pytest.raises(CorpusError, match=r"cannot be loaded: .*long") as caught:
        read_dataset(f"hf:{tmp_path}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["hf:nobody/nothing-of-this-name", "hf:nothing-of-this-name:config", "hf:/no/folder"])
def test_a_name_that_cannot_be_reached_is_one_clear_line(name: str) -> None:
    with pytest.raises(CorpusError, match=rf"corpus {re.escape(name)} cannot be loaded: ") as caught:
        load_corpus(name)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("damage", [b"not a parquet file", b"PAR1", b""])
def test_a_damaged_file_is_one_clear_line(folder: Path, damage: bytes) -> None:
    (folder / "train.parquet").write_bytes(damage)
    with pytest.raises(CorpusError, match="cannot be loaded: ") as caught:
        load_corpus(f"hf:{folder}")
    assert "\n" not in str(caught.value)


def test_a_name_is_asked_for_where_there_is_none() -> None:
    for name in ("hf:", "hf::config"):
        with pytest.raises(CorpusError, match="names no dataset"):
            load_corpus(name)


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(CorpusError, match=r"hf:x needs the datasets library; pip install 'hubrouter-audit\[corpora\]'"):
        load_corpus("hf:x")


def test_the_librarys_progress_bars_are_as_they_were(folder: Path) -> None:
    rows(folder / "train.parquet", {"text": LINES})
    datasets.enable_progress_bars()
    read_dataset(f"hf:{folder}")
    assert not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    read_dataset(f"hf:{folder}")
    assert datasets.are_progress_bars_disabled()
    datasets.enable_progress_bars()
