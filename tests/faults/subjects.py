"""Planted leaks and clean controls, with hooks and closures that reach the original: all state is equal afterwards."""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from audits import audit
from audits.leaks import PlantedLeak, all_leaks

PROBES = ["perturbation"]
SEED = int(os.environ.get("FAULTS_SEED", "0"))
SHARE = float(os.environ.get("FAULTS", "1"))
EVERY = [(leak, factory) for leak in all_leaks() for factory in ("leaky", "clean")]
CHOSEN = random.Random(SEED).sample(EVERY, k=min(len(EVERY), max(1, int(60 * SHARE))))


def recording(model: nn.Module) -> list[object]:
    """Hooks on every module keep what passes; one counts in a buffer of the original."""
    kept: list[object] = []
    model.register_buffer("calls_seen", torch.zeros(()), persistent=False)

    def record(module: nn.Module, given: object, output: object) -> None:
        kept.append(output)
        model.calls_seen += 1

    for module in model.modules():
        module.register_forward_hook(record)
    return kept


def state(model: nn.Module) -> list[object]:
    """All that its user could see of it, by value."""
    tensors = [(name, t.dtype, t.requires_grad, t.detach().clone()) for name, t in tensors_of(model)]
    modules = [
        (name, module.training, len(module._forward_hooks), sorted(k for k in vars(module)))
        for name, module in model.named_modules()
    ]
    return [*tensors, *modules]


def tensors_of(model: nn.Module) -> list[tuple[str, Tensor]]:
    return [*model.named_parameters(), *model.named_buffers()]


def same(before: object, after: object) -> bool:
    if isinstance(before, Tensor):
        return torch.equal(before, after)
    if isinstance(before, list | tuple):
        return len(before) == len(after) and all(map(same, before, after))
    return before == after


def surroundings() -> list[object]:
    return [
        torch.get_default_dtype(), torch.get_default_device(), torch.get_num_threads(), torch.is_grad_enabled(),
        torch.are_deterministic_algorithms_enabled(), torch.get_rng_state(), random.getstate(),
    ]  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("leak", "factory"), CHOSEN, ids=[f"{leak.name}-{factory}" for leak, factory in CHOSEN])
def test_a_model_is_as_before_its_audit(leak: PlantedLeak, factory: str) -> None:
    build: Callable[[], nn.Module] = getattr(leak, factory)
    model = build()
    if not isinstance(model, nn.Module):
        pytest.skip("a function has no state")
    kept = recording(model)
    before, outside, passed = state(model), surroundings(), len(kept)
    given = {"vocab_size": leak.vocab_size} if leak.width is None else {"input": "features", "width": leak.width}
    audit(model, **given, seq_len=min(leak.seq_len, 16), batch=2, probes=PROBES)
    assert same(outside, surroundings())
    assert same(before, state(model))
    assert len(kept) == passed
