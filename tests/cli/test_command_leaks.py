"""`hubrouter-audit leaks`: the kill matrix in the terminal and as a document."""

import json
from pathlib import Path

import pytest

from audits.__main__ import main
from audits.leaks import all_leaks


def test_the_leak_corpus_holds_the_leaks_that_were_promised() -> None:
    names = {leak.name for leak in all_leaks()}
    promised = {
        "hub_bidirectional_council",
        "hub_selection_in_chunk",
        "hub_own_chunk_summary",
        "hub_statistics_over_time",
        "hub_length_dependent_k",
        "hub_state_across_calls",
    }
    assert promised <= names
    assert len(names) >= 40


def test_killed_leaks_exit_0_and_are_listed_with_their_class(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    document = tmp_path / "leaks.json"
    assert main(["leaks", "--only", "needle", "length_temperature", "--json", str(document)]) == 0
    out = capfd.readouterr().out
    assert "needle" in out
    assert "length" in out
    assert "suffice" in out
    assert json.loads(document.read_text())["battery"]["smallest"] == [["prefix-length"]]
    leaks = {leak["name"]: leak for leak in json.loads(document.read_text())["twins"]}
    assert leaks["needle"]["leaky"]["perturbation"] == "LEAK"
    assert leaks["length_temperature"]["leaky"]["perturbation"] == "PASS"
    assert leaks["length_temperature"]["leaky"]["prefix-length"] == "LEAK"
    assert set(leaks["needle"]["clean"].values()) == {"PASS"}


@pytest.mark.parametrize("workers", ["0", "-3", "many"])
def test_workers_must_be_a_whole_number_of_at_least_1(workers: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["leaks", "--workers", workers])
    assert stopped.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_an_unknown_leak_exits_2_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["leaks", "--only", "phlogiston"]) == 2
    err = capsys.readouterr().err
    assert "phlogiston" in err
    assert err.count("\n") == 1
