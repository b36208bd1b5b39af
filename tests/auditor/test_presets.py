"""Presets: quick is the minimal battery of the kill matrix, says what it left out, and never passes on less."""

from __future__ import annotations

import json
from pathlib import Path

import auditor_models as models
import pytest
import torch
from auditor_models import LENGTH, VOCAB, Tokens
from torch import Tensor

from audits import SubjectError, audit
from audits.__main__ import main
from audits.auditor.presets import PRESETS, QUICK
from audits.claims.tool._battery import minimal_battery
from audits.leaks import all_leaks
from audits.probes import all_probes
from audits.results import Verdict

MATRIX = Path(__file__).resolve().parents[2] / "reports" / "leaks.json"
LEFT_OUT = [probe.name for probe in all_probes() if probe.name not in QUICK]


def kills() -> dict[str, frozenset[str]]:
    """Which leaks each probe sees, by the reviewed matrix."""
    leaks = json.loads(MATRIX.read_text(encoding="utf-8"))["twins"]
    probes = {probe for leak in leaks for probe in leak["leaky"]}
    return {p: frozenset(t["name"] for t in leaks if t["leaky"].get(p) == "LEAK") for p in probes}


def test_the_reviewed_matrix_holds_every_leak_and_every_probe():
    assert {leak for seen in kills().values() for leak in seen} == {leak.name for leak in all_leaks()}
    assert set(kills()) == {probe.name for probe in all_probes()}


def test_quick_is_the_minimal_battery_of_the_reviewed_matrix():
    assert tuple(sorted(QUICK)) in minimal_battery(kills()).smallest


def test_what_quick_leaves_out_sees_no_leak_but_those_of_tracing_and_of_other_rows():
    matrix = kills()
    assert all(matrix[probe] <= matrix["provenance"] | matrix["isolation"] for probe in LEFT_OUT)


def test_a_pass_under_quick_names_what_did_not_run():
    torch.manual_seed(0)
    result = audit(Tokens(models.Attention()), vocab_size=VOCAB, seq_len=LENGTH, preset="quick")
    assert result.verdict is Verdict.PASS
    assert result.settings["preset"] == "quick"
    assert result.settings["left_out"] == LEFT_OUT
    assert {probe.name for probe in result.probes} == set(QUICK)


def test_the_command_says_what_quick_left_out(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "160")
    assert main(["model", "audits.leaks.needle:clean", "--seq-len", "24", "--preset", "quick"]) == 0
    assert f"Not run: {', '.join(LEFT_OUT)}." in capsys.readouterr().out


class Untraced(models.Mixer):
    """Decides by values that left torch, where tracing ends."""

    def after(self, y: Tensor, x: Tensor) -> Tensor:
        return y + torch.tensor(x.tolist()).to(x.dtype)


def test_where_tracing_is_inconclusive_quick_runs_every_probe():
    torch.manual_seed(0)
    result = audit(Tokens(Untraced()), vocab_size=VOCAB, seq_len=LENGTH, preset="quick")
    assert result.settings["left_out"] == []
    assert {probe.name for probe in result.probes} == {probe.name for probe in all_probes()}


SOME = (
    "needle",
    "expert_choice_routing",
    "detached_sequence_mean",
    "dynamic_rotary_base",
    "batch_norm",
    "faint_future",
)


@pytest.mark.parametrize("leak", [t for t in all_leaks() if t.name in SOME], ids=lambda leak: leak.name)
def test_quick_names_a_leak_as_thorough_does(leak):
    options = {"input": "features" if leak.width else "tokens", "vocab_size": leak.vocab_size, "width": leak.width}
    result = audit(leak.leaky(), seq_len=leak.seq_len, preset="quick", **options)
    assert {finding.leak_class for finding in result.findings} == {leak.leak_class}


def test_probes_and_preset_exclude_each_other(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SubjectError, match="not both"):
        audit(Tokens(models.Attention()), probes=["gradient"], preset="quick")
    with pytest.raises(SystemExit) as stopped:
        main(["model", "audits.leaks.needle:clean", "--preset", "quick", "--probes", "gradient"])
    assert stopped.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_an_unknown_preset_is_refused_with_the_known_ones():
    with pytest.raises(SubjectError, match=", ".join(PRESETS)):
        audit(Tokens(models.Attention()), preset="hasty")


def test_the_smallest_battery_is_found_exactly():
    matrix = {"a": frozenset("123"), "b": frozenset("34"), "c": frozenset("4"), "d": frozenset("12"), "e": frozenset()}
    battery = minimal_battery(matrix, {"a": 1, "b": 9, "c": 2})
    assert battery.smallest == (("a", "b"), ("a", "c"), ("b", "d"))
    assert battery.probes == ("a", "c")
    assert battery.only == {}
    assert battery.redundant == ("a", "b", "c", "d", "e")


def test_a_leak_that_one_probe_alone_sees_makes_it_indispensable():
    battery = minimal_battery({"a": frozenset("12"), "b": frozenset("2")})
    assert battery.probes == ("a",)
    assert battery.only == {"a": ("1",)}
    assert battery.redundant == ("b",)
    assert minimal_battery({}).probes == ()
