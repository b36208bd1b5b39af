"""The kernel check finds a kernel that is wrong, and the claim says what was found and where."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import hubrouter.kernels.route as operator
from audits.claims.claim import ClaimVerdict
from audits.claims.hubrouter.kernels import CLAIM, failures
from audits.evidence.experiment import Options
from audits.evidence.ledger import Evidence, Record
from audits.experiments.bench import kernel_check
from audits.experiments.bench._ablations import ABLATIONS
from audits.experiments.bench._dense_hub import readable, tokens
from audits.experiments.bench.kernel_check import Case, change_before, results, subject
from hubrouter import HubRouter, RouterConfig
from hubrouter.select import NO_CLAIM, Chosen

SMALL = Case(11, 16, 1, 2, 3, 4, batch=1)
OPTIONS = Options("quick", "cpu")
SOUND = {"errors": {"output": {"kernel": 2e-7, "dense": 1e-7}}, "eps": 1.2e-7, "repeats": True, "felt_before": 0.0}


def selected_by_the_reference(layer: HubRouter, x: Tensor) -> Tensor:
    """Positions of the tokens before every chunk, as `selection`: the reference numbers them after those it kept."""
    seen: list[Chosen] = []
    with layer.select.register_forward_hook(lambda _module, _given, found: seen.append(found)), torch.no_grad():
        layer(x)
    (chosen,) = seen
    token = torch.where(chosen.claim == NO_CLAIM, x.shape[1], chosen.token - layer.config.slots)
    return token if layer.config.causal else token[:, 1:]


@pytest.mark.parametrize(
    "case",
    [*(replace(SMALL, **changed) for changed in ({}, *ABLATIONS.values())), replace(SMALL, causal=False)],
    ids=str,
)
def test_the_dense_layer_is_the_layer(case: Case) -> None:
    layer, x = subject(case, torch.float64, 0, "cpu")
    layer.impl = "reference"
    expected = results(layer, x)
    found = results(layer, x, readable(selected_by_the_reference(layer, x), case.length, layer.config))
    assert set(found) == set(expected)
    for name in expected:
        assert float((found[name] - expected[name]).abs().max()) < 1e-12, name


def test_every_ablation_is_checked_at_one_size_and_named() -> None:
    for device in ("cpu", "cuda"):
        labels = [spec.label for spec in kernel_check.runs(Options("quick", device))]
        assert len(labels) == len(set(labels))
        for word in ("council='selected'", "council='chunk'", "'random'", "'recent'", "readout=False", "hubs=True"):
            assert sum(label.endswith(word) for label in labels) == 1


def test_what_a_query_may_read_is_its_own_chunk_so_far_and_what_was_chosen() -> None:
    empty, keys = -(1 << 63), [(5 << 32) | ((1 << 31) - 1 - position) for position in (0, 1)]
    chosen = torch.tensor([[[empty, empty], [keys[1], empty], [keys[1], keys[0]]]])
    token, config = tokens(chosen, 5), RouterConfig(16, 1, 2, 2, 2)
    allowed = readable(token, 5, config)[0].int().tolist()
    assert allowed == [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [0, 1, 1, 0, 0], [0, 1, 1, 1, 0], [1, 1, 0, 0, 1]]
    both = replace(config, causal=False)
    assert readable(token[:, 2:], 5, both)[0].int().tolist() == [[1, 1, 0, 0, 0]] * 5
    alone = [readable(token, 5, replace(config, council=council))[0].int() for council in ("selected", "chunk")]
    assert alone[0].tolist() == [[0] * 5, [0] * 5, [0, 1, 0, 0, 0], [0, 1, 0, 0, 0], [1, 1, 0, 0, 0]]
    assert torch.equal(alone[0] + alone[1], torch.tensor(allowed))


AFTER_TRITON = f"""
import json, triton
from dataclasses import replace
from audits.experiments.bench import kernel_check
from audits.evidence.experiment import Options
(spec, *_) = kernel_check.runs(Options())
spec = replace(spec, config={{**spec.config, **{asdict(SMALL)}}})
print(json.dumps(kernel_check.execute(spec, Options(), lambda *_: None)))
"""


def test_a_sound_kernel_passes_every_part_interpreted_where_triton_was_loaded_before() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", AFTER_TRITON]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert failures(record(**json.loads(done.stdout))) == []


def test_a_check_that_fails_says_why() -> None:
    (spec, *_) = kernel_check.runs(OPTIONS)
    with pytest.raises(RuntimeError, match=r"AttributeError: .* no attribute 'float31'"):
        kernel_check.execute(replace(spec, config={**spec.config, "dtype": "float31"}), OPTIONS, lambda *_: None)


def test_a_kernel_that_depends_on_the_future_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    select = operator.select_tokens

    def too_late(*arguments: Any) -> Tensor:
        chosen = select(*arguments)
        return torch.cat([chosen[:, 1:], chosen[:, -1:]], dim=1)

    monkeypatch.setattr(operator, "select_tokens", too_late)
    layer, x = subject(SMALL, torch.float32, 0, "cpu")
    assert change_before(layer, x) > 1e-3


def record(device: str = "cpu", **result: Any) -> Record:
    config = {**asdict(SMALL), "dtype": "float32", "device": device}
    return Record(kernel_check.NAME, config, 0, {**SOUND, **result}, {"device": "NVIDIA H100"}, 1.0, "code")


@pytest.mark.parametrize(
    ("result", "says"),
    [
        ({"errors": {"output": {"kernel": 1e-5, "dense": 1e-7}}}, "output is less exact than dense code"),
        ({"repeats": False}, "two runs differ"),
        ({"felt_before": 0.5}, "earlier outputs move by 0.5"),
    ],
)
def test_one_bad_run_refutes_the_claim_and_is_named(result: dict[str, Any], says: str) -> None:
    judged = CLAIM.judge(Evidence((record(), record(**result))))
    assert judged.verdict is ClaimVerdict.REFUTED
    assert says in judged.details


def test_runs_in_the_interpreter_alone_are_not_called_verified_on_a_gpu() -> None:
    judged = CLAIM.judge(Evidence((record(),)))
    assert judged.verdict is ClaimVerdict.SUPPORTED
    assert "NOT VERIFIED ON A GPU" in judged.details
    judged = CLAIM.judge(Evidence((record("cuda"),)))
    assert "NOT VERIFIED" not in judged.details
    assert "NVIDIA H100" in judged.details


def test_without_a_run_nothing_is_claimed() -> None:
    assert CLAIM.judge(Evidence()).verdict is ClaimVerdict.NOT_TESTABLE
