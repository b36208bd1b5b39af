"""Training throughput by baseline tier: layers and whole models, timed in turns, forward and backward."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audits.evidence.experiment import Experiment, Options, Progress, RunSpec
from audits.experiments.bench._timing import Outlook, in_turns, outlook, seconds_of
from audits.experiments.reference import OTHER_IMPLEMENTATIONS
from hubrouter import HubRouter, ModelConfig, SequenceModel
from hubrouter.config import SCANS, ConfigError
from hubrouter.mixers.attention import CausalAttention
from hubrouter.mixers.mamba import Mamba
from hubrouter.patterns import hub_gpt, hub_jamba, jamba, transformer

NAME = "throughput"
AGREEMENT_LENGTH = 96  # tokens on which the tiers' outputs are compared; more than one chunk of the scans
VOCAB = 256


@dataclass(frozen=True)
class Size:
    """One tier of the experiment; all numbers are our choice, since the paper prints neither widths nor hardware.

    Attributes:
        d_model: width of layers and models; heads of attention and HubRouter are 64 wide or 4 in number.
        layers: layers of a whole model, of which one in `layers` is attention or HubRouter, as in Jamba's one in 8.
        lengths: tokens in a sequence, one run each.
        batch: sequences in a step.
        rounds: timed steps of each subject, in turns.
        limit: seconds; a step that is predicted to take longer is not carried out, and recorded as not run.
    """

    d_model: int
    layers: int
    lengths: tuple[int, ...]
    batch: int
    rounds: int
    limit: float


TIERS = {
    "quick": Size(64, 4, (256, 1024), 1, 5, 20.0),
    "full": Size(256, 8, (256, 1024, 4096), 1, 7, 30.0),
    "paper": Size(1024, 8, (256, 1024, 4096), 4, 9, 60.0),
}


@dataclass(frozen=True)
class Subject:
    """What is timed: a name, the tier of its Mamba layers (None without any), and how it is built."""

    name: str
    scan: str | None
    build: Callable[[], nn.Module]


def runs(options: Options) -> tuple[RunSpec, ...]:
    """Layers and whole models at every length."""
    size = TIERS[options.tier]
    shape = {name: getattr(size, name) for name in ("d_model", "layers", "batch", "rounds", "limit")}
    return tuple(
        RunSpec(
            NAME,
            {"tier": options.tier, "what": what, "n": n, **shape, "device": options.device},
            0,
            f"throughput of {what}s at n = {n}",
        )
        for what in ("layer", "model")
        for n in size.lengths
    )


def execute(spec: RunSpec, options: Options, progress: Progress) -> dict[str, Any]:
    """Time every subject of one kind at one length."""
    config = spec.config
    n, batch, rounds = int(config["n"]), int(config["batch"]), int(config["rounds"])
    subjects = subjects_of(config)
    progress(0, rounds + 1, "predicting")
    steps = {subject: Step(subject, batch, int(config["d_model"]), options.device) for subject in subjects}
    outlooks = {subject: foreseen(steps[subject], n, float(config["limit"])) for subject in subjects}
    running = {s: partial(steps[s].seconds, n) for s in subjects if outlooks[s].not_run is None}
    timed = in_turns(running, rounds, progress)
    rows = [row(subject, outlooks[subject], timed.get(subject, ()), batch * n) for subject in subjects]
    return {"rows": rows, "disagreement": disagreement(config, options.device), "threads": torch.get_num_threads()}


def configuration(config: dict[str, Any], pattern: str, scan: str = "chunked") -> ModelConfig:
    """Shapes that all subjects share. Mamba has Mamba-2's parameters, so that every tier computes the same function."""
    width = int(config["d_model"])
    heads = max(4, width // 64)
    ssm_heads = max(1, 2 * width // 64)
    return ModelConfig(
        VOCAB, pattern, d_model=width, n_heads=heads, n_hubs=8, k=64, chunk=64, ssm_heads=ssm_heads, scan=scan
    )


def subjects_of(config: dict[str, Any]) -> list[Subject]:
    """The layers or the models; Jamba and Hub-Jamba once for every tier of their Mamba layers."""
    return _layers(config) if config["what"] == "layer" else _models(config)


def _layers(config: dict[str, Any]) -> list[Subject]:
    plain = configuration(config, "A")
    return [
        Subject("hub", None, lambda: HubRouter(plain.router())),
        Subject("attention", None, lambda: CausalAttention(plain)),
        *(Subject("mamba", scan, _builder(Mamba, configuration(config, "M", scan))) for scan in SCANS),
    ]


def _models(config: dict[str, Any]) -> list[Subject]:
    layers = int(config["layers"])
    place = {"period": layers, "offset": layers // 2}
    patterns = {"Hub-Jamba": hub_jamba(layers, **place), "Jamba": jamba(layers, **place)}
    plain = {"Hub-GPT": hub_gpt(layers), "Transformer": transformer(layers)}
    return [
        *(Subject(name, None, _builder(SequenceModel, configuration(config, p))) for name, p in plain.items()),
        *(
            Subject(name, scan, _builder(SequenceModel, configuration(config, pattern, scan)))
            for scan in SCANS
            for name, pattern in patterns.items()
        ),
    ]


def _builder(kind: Callable[[ModelConfig], nn.Module], config: ModelConfig) -> Callable[[], nn.Module]:
    return lambda: kind(config)


class Step:
    """Forward and backward of one subject; equal subjects have equal weights, whatever their tier."""

    def __init__(self, subject: Subject, batch: int, width: int, device: str) -> None:
        self.subject, self.batch, self.width, self.device = subject, batch, width, device
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.module = subject.build().to(device)

    def seconds(self, n: int) -> float:
        """Seconds of one step at n tokens; the gradients are dropped afterwards, when the clock has stopped."""
        inputs = self._inputs(n)
        taken = seconds_of(lambda: self._forward_and_backward(inputs), self.device)
        self.module.zero_grad(set_to_none=True)
        return taken

    def _forward_and_backward(self, inputs: Tensor) -> None:
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=self.device.startswith("cuda")):
            loss = self._loss(inputs)
        loss.backward()

    def _inputs(self, n: int) -> Tensor:
        if isinstance(self.module, SequenceModel):
            return torch.randint(VOCAB, (self.batch, n + 1), device=self.device)
        return torch.randn(self.batch, n, self.width, device=self.device, requires_grad=True)

    def _loss(self, inputs: Tensor) -> Tensor:
        """Next-token loss of a model; the sum of a layer's outputs, squared so that its gradient is no constant."""
        if isinstance(self.module, SequenceModel):
            logits = self.module(inputs[:, :-1])
            return F.cross_entropy(logits.flatten(0, 1).float(), inputs[:, 1:].flatten())
        output: Tensor = self.module(inputs)
        return output.float().square().sum()


def foreseen(step: Step, n: int, limit: float) -> Outlook:
    """Whether a step at n tokens is within the limit, in seconds; or that this machine does not have its tier."""
    try:
        return outlook(step.seconds, n, limit)
    except ConfigError as refusal:
        return Outlook(None, str(refusal).partition(":")[0])


def row(subject: Subject, told: Outlook, seconds: Sequence[float], tokens: int) -> dict[str, Any]:
    """One subject in the ledger: every timed step, and throughput as median, lowest and highest."""
    named = {"subject": subject.name, "scan": subject.scan, "tokens": tokens}
    if not seconds:
        return {**named, "not_run": told.not_run or "no round was timed", "predicted_s": told.predicted}
    per_second = sorted(tokens / taken for taken in seconds)
    return {
        **named,
        "not_run": None,
        "seconds": list(seconds),
        "ms": 1000 * statistics.median(seconds),
        "tokens_per_s": {"median": statistics.median(per_second), "low": per_second[0], "high": per_second[-1]},
    }


def disagreement(config: dict[str, Any], device: str) -> dict[str, float | None]:
    """Largest difference of each tier's outputs from the token-by-token ones, relative to their largest value.

    One Mamba layer with the same weights and the same input; None for a tier that this machine does not have.
    """
    width = int(config["d_model"])
    layers = {s.scan: Step(s, 2, width, device).module for s in _layers(config) if s.scan is not None}
    x = torch.randn(2, AGREEMENT_LENGTH, width, generator=torch.Generator().manual_seed(0)).to(device)
    with torch.no_grad():
        reference = layers["loop"](x)
        return {scan: _distance(layer, x, reference) for scan, layer in layers.items()}


def _distance(module: nn.Module, x: Tensor, reference: Tensor) -> float | None:
    try:
        return float((module(x) - reference).abs().max() / reference.abs().max())
    except ConfigError:
        return None


EXPERIMENT = Experiment(
    NAME,
    runs,
    execute,
    exclusive=True,
    not_hashed=OTHER_IMPLEMENTATIONS,
    not_compared=("rows.*.ms", "rows.*.seconds*", "rows.*.tokens_per_s.*", "rows.*.predicted_s", "rows.*.not_run"),
)
