"""Planted leaks under contracts: each is found at the right argument, slots and line, and its clean control passes."""

from __future__ import annotations

import importlib
import linecache
import re
from pathlib import Path

import pytest
import torch

from audits import audit
from audits.leaks.contracts import ContractLeak, all_contract_leaks
from audits.results import Verdict

PLANTED = all_contract_leaks()
each_leak = pytest.mark.parametrize("leak", PLANTED, ids=lambda leak: leak.name)


def test_every_role_and_clock_of_a_contract_has_a_planted_leak():
    contracts = [leak.contract for leak in PLANTED]
    roles = {role for contract in contracts for role in contract.roles().values()}
    assert {role.role for role in roles} == {"past", "before", "free", "held", "padding"}
    assert {role.kind for role in roles} >= {"tokens", "features", "flags", "times"}
    said = {name for contract in contracts for name in contract.said()}
    assert said == {
        *("lookahead", "strict", "prefix", "hop", "inputs", "output", "input_axis", "output_axis"),
        *("available", "due", "stream", "cache"),
    }
    assert any(callable(contract.inputs) for contract in contracts)


@each_leak
def test_a_planted_leak_documents_itself_and_is_named_after_its_file(leak: ContractLeak):
    module = importlib.import_module(f"audits.leaks.contracts.{leak.name}")
    assert module.LEAK is leak
    assert (module.__doc__ or "").strip().endswith(".")
    assert leak.mechanism.endswith(".")


@each_leak
def test_both_models_have_the_same_weights_every_time(leak: ContractLeak):
    leaky, clean, again = leak.leaky().state_dict(), leak.clean().state_dict(), leak.leaky().state_dict()
    assert leaky.keys() == clean.keys()
    masks = {name for name in leaky if name.endswith("seen")}
    assert all(torch.equal(leaky[name], again[name]) for name in leaky)
    assert all(torch.equal(leaky[name], clean[name]) for name in leaky if name not in masks)


@each_leak
def test_the_clean_model_passes_every_probe(leak: ContractLeak):
    result = audit(leak.clean(), **leak.options())
    undecided = {probe.name: probe.why for probe in result.probes if probe.applicable and probe.verdict != "PASS"}
    assert (result.verdict, undecided) == (Verdict.PASS, {})


@each_leak
def test_the_leaky_model_is_named_by_argument_slots_and_line(leak: ContractLeak):
    result = audit(leak.leaky(), **leak.options())
    assert result.verdict is Verdict.LEAK
    assert result.findings
    for finding in result.findings:
        assert finding.argument == leak.argument
        assert finding.file is not None
        assert Path(finding.file).parent.name in ("contracts", "leaks")
        assert leak.line in linecache.getline(str(Path(finding.file).resolve()), finding.line or 0)
        source, sink = finding.source.position, finding.sink.position
        assert sink is not None
        if leak.reads:
            assert source is not None
            assert leak.reads(source, sink)
            assert finding.clocks.startswith(f"{leak.argument} {source} is available at ")
            assert f", output {sink} is due at " in finding.clocks


CLOCKED = ("centred_codec", "lookahead_exceeded", "own_action", "present_included", "stream_without_history")


@pytest.mark.parametrize("name", CLOCKED)
def test_reasons_and_traces_speak_of_slots_and_times_where_these_are_no_positions(name: str) -> None:
    leak = next(leak for leak in PLANTED if leak.name == name)
    result = audit(leak.leaky(), **leak.options())
    reasons = [probe.why for probe in result.probes if probe.verdict is Verdict.LEAK]
    assert reasons
    for why in reasons:
        assert not re.search(r"\b(position|input) \d", why), why
        found = re.search(r"slot \d+ \(due at (-?\d+)\)", why)
        assert found, why
        available = [int(time) for time in re.findall(r"\(available at (\d+)\)", why)]
        assert all(time > int(found[1]) for time in available)
        assert bool(available) == bool(leak.argument)
    for finding in result.findings if leak.argument else ():
        first, *_, last = finding.trace
        assert first.op in leak.contract.roles() or first.op == leak.argument
        assert None not in (first.position, last.position)
