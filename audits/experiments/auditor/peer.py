"""The same models by this auditor and by causal-certificate in one run: what each finds, and what each takes.

No claim needs it, so `claims` never runs it; `hubrouter-audit peers` does where the peer is installed.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from audits.auditor.audit import audit
from audits.evidence.experiment import Experiment, Options, Progress, RunSpec
from audits.experiments.auditor import _causal_certificate as peer
from audits.experiments.auditor.kill_matrix import audit_side
from audits.experiments.reference import OTHER_IMPLEMENTATIONS
from audits.leaks._corpus import all_leaks
from audits.leaks._planted import PlantedLeak
from audits.subject.settings import Settings
from hubrouter import ModelConfig, SequenceModel

REPEATS = 5
VOCAB = 64


def llama() -> nn.Module:
    """A tiny Llama of transformers, random weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=VOCAB, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4
    )
    model: nn.Module = LlamaForCausalLM(config)
    return model


def hub() -> nn.Module:
    """One strictly causal hub layer between embedding and head, random weights."""
    return SequenceModel(ModelConfig(VOCAB, "H", d_model=32, n_heads=4))


TIMED: dict[str, Callable[[], nn.Module]] = {"llama": llama, "hub": hub}
LENGTHS = (48, 96)


def runs(options: Options) -> tuple[RunSpec, ...]:
    """One run a leak, and one a timed model and length; the same at every tier."""
    del options
    leaks = [RunSpec("peer", {"twin": leak.name}, 0, f"peer on {leak.name}") for leak in all_leaks()]
    timed = [
        RunSpec("peer", {"model": m, "n": n, "clock": "cpu"}, 0, f"time of {m} at {n}") for m in TIMED for n in LENGTHS
    ]
    return (*leaks, *timed)


def execute(spec: RunSpec, options: Options, progress: Progress) -> dict[str, Any]:
    """Both checkers on one leak, or their times on one model."""
    del options
    if "twin" in spec.config:
        return found(next(leak for leak in all_leaks() if leak.name == spec.config["twin"]), spec.seed, progress)
    return timed(str(spec.config["model"]), int(spec.config["n"]), spec.seed, progress)


def found(leak: PlantedLeak, seed: int, progress: Progress) -> dict[str, Any]:
    """What each says of both sides of a leak."""
    sides: dict[str, Any] = {}
    for done, side in enumerate(("leaky", "clean")):
        progress(done, 2, f"{side} model")
        settings = Settings(
            "features" if leak.width else "tokens", leak.vocab_size, leak.width, leak.seq_len, seed=seed
        )
        said = peer.certificate(leak.leaky() if side == "leaky" else leak.clean(), settings)
        ours = audit_side(leak, leaky=side == "leaky", seed=seed)
        sides[side] = {"ours": str(ours.verdict), "peer": said.verdict, "peer_why": said.why}
    return {"leak_class": str(leak.leak_class), "peer": peer.release(), **sides}


def timed(name: str, n: int, seed: int, progress: Progress) -> dict[str, Any]:
    """Seconds of both on a causal model of length n, taken in turns, on one thread, with what each says."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = TIMED[name]()
    settings = Settings(vocab_size=VOCAB, seq_len=n, seed=seed)

    def ours(*probes: str) -> str:
        return str(audit(model, vocab_size=VOCAB, seq_len=n, seed=seed, probes=probes or None).verdict)

    ways: dict[str, Callable[[], str]] = {
        "peer": lambda: peer.certificate(model, settings).verdict,
        "ours, gradient probe alone": lambda: ours("gradient"),
        "ours, all probes": ours,
    }
    return {"peer": peer.release(), "rows": _in_turns(ways, progress)}


def _in_turns(ways: dict[str, Callable[[], str]], progress: Progress) -> list[dict[str, Any]]:
    """Processor seconds of each way, which other work on the machine hardly changes; a first turn is not counted."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        verdicts, seconds = {name: way() for name, way in ways.items()}, {name: list[float]() for name in ways}
        for done in range(REPEATS):
            progress(done, REPEATS)
            for name, way in ways.items():
                started = time.process_time()
                way()
                seconds[name].append(time.process_time() - started)
    finally:
        torch.set_num_threads(threads)
    return [
        {"way": name, "verdict": verdicts[name], "s_median": statistics.median(s), "s_low": min(s), "s_high": max(s)}
        for name, s in seconds.items()
    ]


EXPERIMENT = Experiment(
    "peer", runs, execute, exclusive=True, not_hashed=OTHER_IMPLEMENTATIONS, not_compared=("rows.*.s_*", "*.peer_why")
)
