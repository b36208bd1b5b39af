"""Findings are correct: positions, module, file and line; and the line to reproduce reproduces them."""

from __future__ import annotations

import dataclasses
import inspect
import json
from pathlib import Path

import auditor_models as models
import pytest
import torch
from auditor_models import LENGTH, VOCAB, WIDTH, Attention, Tokens
from torch import nn

from audits import assert_causal, audit
from audits.__main__ import main
from audits.leaks import (
    PlantedLeak,
    block_mean_broadcast,
    dynamic_rotary_base,
    faint_future,
    global_key_selection,
    hub_bidirectional_council,
    hub_own_chunk_summary,
    hub_selection_in_chunk,
    hub_statistics_over_time,
)
from audits.probes import all_probes
from audits.results import AuditResult, LeakClass, Verdict

PLANTED = [block_mean_broadcast.LEAK, global_key_selection.LEAK]


def audited(leak: PlantedLeak, **options: object) -> AuditResult:
    return audit(leak.leaky(), **{"vocab_size": leak.vocab_size, "seq_len": leak.seq_len, **options})


def without_seconds(result: AuditResult) -> str:
    probes = tuple(dataclasses.replace(probe, seconds=0.0) for probe in result.probes)
    return dataclasses.replace(result, probes=probes).to_json()


@pytest.mark.parametrize("leak", PLANTED, ids=lambda leak: leak.name)
def test_the_same_seed_gives_the_same_bytes_but_for_seconds(leak):
    torch.manual_seed(7)
    first = without_seconds(audited(leak))
    torch.manual_seed(8)
    assert without_seconds(audited(leak)) == first


def test_another_seed_tries_other_sequences():
    first, second = (audited(PLANTED[0], seed=seed, probes=["prefix-length"]) for seed in (0, 1))
    assert first.findings[0].effect != second.findings[0].effect


@pytest.mark.parametrize("leak", PLANTED, ids=lambda leak: leak.name)
def test_the_positions_of_a_finding_hold_in_the_model_itself(leak):
    finding = audited(leak).findings[0]
    source, sink = finding.source.position, finding.sink.position
    assert source > sink
    model = leak.leaky().eval().double()
    generator, worst = torch.Generator().manual_seed(0), 0.0
    with torch.no_grad():
        for _ in range(100):
            tokens = torch.randint(leak.vocab_size, (1, leak.seq_len), generator=generator)
            others = tokens.clone()
            others[:, source:] = torch.randint(leak.vocab_size, (1, leak.seq_len - source), generator=generator)
            worst = max(worst, float((model(tokens) - model(others))[0, sink].abs().max()))
    assert worst > finding.noise_floor


@pytest.mark.parametrize("leak", PLANTED, ids=lambda leak: leak.name)
def test_one_leak_is_one_finding_of_all_probes_with_module_line_and_operation(leak):
    (finding,) = audited(leak).findings
    assert finding.probe == finding.probes[0] == "perturbation"
    assert {"provenance", "prefix-length", "training-mode"} < set(finding.probes)
    assert finding.module in dict(leak.leaky().named_modules())
    lines = Path(finding.file).read_text(encoding="utf-8").splitlines()
    assert finding.op is not None
    assert lines[finding.line - 1].startswith(" " * 8)  # a statement of a method, not its head


@pytest.mark.parametrize("leak", PLANTED, ids=lambda leak: leak.name)
def test_the_quick_preset_gives_the_same_place_once(leak):
    quick, thorough = (audited(leak, preset=preset).findings for preset in ("quick", "thorough"))
    assert [(f.leak_class, f.file, f.line) for f in quick] == [(f.leak_class, f.file, f.line) for f in thorough]


def test_a_leak_of_another_kind_does_not_share_a_location():
    finding = next(f for f in audited(dynamic_rotary_base.LEAK).findings if f.probe == "prefix-length")
    assert (finding.leak_class, finding.op) == (LeakClass.LENGTH, "pow")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_faint_dense_leak_is_dense_in_every_precision(dtype):
    assert {f.leak_class for f in audited(faint_future.LEAK, dtype=dtype).findings} == {LeakClass.DENSE}


@pytest.mark.parametrize("probe", [probe.name for probe in all_probes()])
def test_the_command_that_a_finding_gives_shows_it_again(probe, tmp_path):
    target = "audits.leaks.block_mean_broadcast:leaky"
    result = audit(block_mean_broadcast.leaky(), vocab_size=32, seq_len=40, seed=3, target=target)
    for finding in [finding for finding in result.findings if finding.probe == probe]:
        command = finding.reproduce.split()
        assert command[:3] == ["hubrouter-audit", "model", target]
        assert main([*command[1:], "--json", str(tmp_path / "again.json")]) == 1
        again = json.loads((tmp_path / "again.json").read_text(encoding="utf-8"))["findings"]
        same = next(entry for entry in again if entry["probe"] == probe)
        assert same["leak_class"] == finding.leak_class
        assert (same["source"], same["sink"]) == (dataclasses.asdict(finding.source), dataclasses.asdict(finding.sink))
        assert (same["effect"], same["module"], same["line"]) == (finding.effect, finding.module, finding.line)


def test_the_call_that_a_finding_gives_shows_it_again():
    torch.manual_seed(0)
    model = Tokens(models.DetachedPeak())
    result = audit(model, vocab_size=VOCAB, seq_len=LENGTH, seed=5)
    for finding in result.findings:
        again = eval(finding.reproduce, {"audit": audit, "model": model})
        same = next(entry for entry in again.findings if entry.probe == finding.probe)
        kept = {"reproduce": "", "probes": ()}  # it names the probes that its class and place depend on
        assert dataclasses.replace(same, **kept) == dataclasses.replace(finding, **kept)


def test_an_assertion_names_positions_class_place_and_a_line_to_reproduce():
    torch.manual_seed(0)
    with pytest.raises(AssertionError) as caught:
        assert_causal(Tokens(Attention(causal=False)), vocab_size=VOCAB, seq_len=LENGTH)
    message = str(caught.value)
    for part in (
        "dense leak at",
        "auditor_models.py:",
        "module mixer",
        "depends on position",
        "where rounding explains",
        "reproduce: audit(",
    ):
        assert part in message


def test_an_assertion_takes_the_arguments_of_an_audit_and_no_others():
    assert inspect.signature(assert_causal).parameters == inspect.signature(audit).parameters
    with pytest.raises(TypeError, match="vocabsize"):
        assert_causal(Tokens(Attention()), vocabsize=VOCAB)


def test_an_assertion_says_why_nothing_could_be_decided():
    torch.manual_seed(0)
    with pytest.raises(AssertionError, match="nothing was tested"):
        assert_causal(lambda tokens: torch.zeros(*tokens.shape, 3), vocab_size=VOCAB, seq_len=LENGTH)


def test_a_leak_inside_a_module_of_torch_points_at_the_line_that_calls_it():
    torch.manual_seed(0)
    mixer = models.Recurrent()
    mixer.cell = nn.LSTM(WIDTH, WIDTH // 2, batch_first=True, bidirectional=True)
    finding = audit(Tokens(mixer), vocab_size=VOCAB, seq_len=8, probes=["perturbation"]).findings[0]
    lines = Path(finding.file).read_text(encoding="utf-8").splitlines()
    assert (finding.module, lines[finding.line - 1].strip()) == ("mixer.cell", "return self.cell(x)[0]")


def not_compiled(graph, inputs):
    raise AssertionError("an audit compiles nothing")


@pytest.mark.parametrize("fullgraph", [False, True])
def test_a_leak_in_a_compiled_module_has_a_place(fullgraph):
    torch.manual_seed(0)
    model = torch.compile(Tokens(Attention(causal=False)), backend=not_compiled, fullgraph=fullgraph)
    finding = audit(model, vocab_size=VOCAB, seq_len=8, probes=["perturbation"]).findings[0]
    assert finding.module == "_orig_mod.mixer"
    assert finding.file.endswith("auditor_models.py")


@pytest.mark.parametrize("causal", [True, False])
def test_every_probe_runs_what_is_compiled_as_it_is_written(causal):
    torch.manual_seed(0)
    model = Tokens(Attention(causal=causal))
    plain = audit(model, vocab_size=VOCAB, seq_len=8)
    model.mixer.compile(backend=not_compiled, fullgraph=True)
    compiled = audit(model, vocab_size=VOCAB, seq_len=8)
    assert compiled.verdict is (Verdict.PASS if causal else Verdict.LEAK)
    reports = [[(p.name, p.verdict, p.why) for p in result.probes] for result in (plain, compiled)]
    assert reports[0] == reports[1]


@pytest.mark.parametrize("length", [32, 48, 96])
@pytest.mark.parametrize(
    ("leak", "stage"),
    [
        (hub_bidirectional_council, "council"),
        (hub_selection_in_chunk, "council"),
        (hub_own_chunk_summary, "encode"),
        (hub_statistics_over_time, "score"),
    ],
)
def test_the_stage_that_leaks_is_named_whatever_the_shapes_look_like(leak, stage, length):
    result = audit(leak.leaky(), seq_len=length, probes=["perturbation"])
    assert [f.module.rpartition(".")[2] for f in result.findings] == [stage]
