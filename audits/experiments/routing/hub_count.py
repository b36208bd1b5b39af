"""The hub-count sweep: how many seeds learn to route, over the number of hubs M, with and without orthogonal hubs.

An embedding feeds one strictly causal HubRouter, whose stages encode, decode and score are trained on which tokens of a
chunk are relevant (`_routing_task`), by cross-entropy over the tokens of each chunk. A token's score sees the chunks
before through the hubs alone, so the header must pass through them. A run has converged at a step if its recall@k on
held-out sequences is at least `THRESHOLD` there; one that reached it and lost it again has not.

What converges depends on the learning rate and on the number of steps, which the paper does not print, so the whole
surface M x learning rate x steps is run. The rate is constant after the warm-up and no evaluation draws a random
number: the curve of a run up to some step *is* the run of so many steps, and one run gives the whole axis of steps.

All numbers are our choices; the paper's task, sizes and meaning of "converge" are unknown. Pilots chose one head, the
warm-up and the penalty, on seeds that no run here has. One head leaves room for 32 orthogonal hubs. The penalty's
weight was chosen without looking at recall: of 1 and 10 the smaller, as it brings the mean squared cosine of 6 hubs
from .03 to about .001. `paper` is the same task at a larger size and was not piloted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from audits.evidence.experiment import Experiment, Options, Progress, RunSpec
from audits.experiments.reference import OTHER_IMPLEMENTATIONS
from audits.experiments.routing._routing_task import Batch, Task, recall
from audits.experiments.training.descent import descend
from audits.experiments.training.seeds import stream
from audits.subject.randomness import generator, pinned
from hubrouter.config import RouterConfig
from hubrouter.orthogonality import hub_orthogonality
from hubrouter.router import HubRouter

NAME = "hub-count"
ARMS = ("plain", "orthogonal")
THRESHOLD = 0.8  # recall@k that counts as converged (our choice)
HELD_OUT = 1_000_003  # the generator seed of the held-out sequences, the same for all runs
GRID = (1, 2, 4, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32)  # our choice; the paper prints M = 1 to 32
RATES = {"quick": (1e-2,), "full": (2e-3, 4e-3, 6e-3, 1e-2), "paper": (3e-4, 6e-4, 1.2e-3)}  # all of them count
FIRST_SEED = 100  # of the judged runs


@dataclass(frozen=True)
class Size:
    """The task, the router and the training of one tier."""

    named: int
    relevant: int
    chunk: int
    length: int
    d_model: int
    n_heads: int
    steps: int
    batch: int
    warmup: int
    penalty: float  # weight of the orthogonality penalty in the orthogonal arm
    held_out: int  # sequences
    every: int  # steps between evaluations

    def task(self) -> Task:
        """The task at this size."""
        return Task(self.named, self.relevant, self.chunk, self.length)

    def router(self, hubs: int) -> RouterConfig:
        """The layer at this size."""
        return RouterConfig(self.d_model, self.n_heads, hubs, self.relevant, self.chunk)


SMALL = Size(4, 2, 16, 96, 32, 1, 500, 16, 20, 1.0, 128, 25)
SIZES = {
    "quick": replace(SMALL, steps=250),
    "full": SMALL,
    "paper": Size(16, 8, 64, 1024, 512, 8, 3000, 32, 300, 1.0, 64, 100),
}


@dataclass(frozen=True)
class Cells:
    """The seeds of each number of hubs at every learning rate, by arm."""

    plain: Mapping[int, int]
    orthogonal: Mapping[int, int]

    def seeds(self, arm: str) -> Mapping[int, range]:
        """Hubs to seeds."""
        counts = self.plain if arm == "plain" else self.orthogonal
        return {hubs: range(FIRST_SEED, FIRST_SEED + count) for hubs, count in counts.items()}


# Five seeds a cell as in the paper; M = 6 has more, because five against five cannot decide a rescue.
CELLS = {
    "quick": Cells(dict.fromkeys((1, 6, 8, 14, 32), 3), {6: 3}),
    "full": Cells({hubs: 20 if hubs == 6 else 5 for hubs in GRID}, {6: 20}),
    "paper": Cells(dict.fromkeys(GRID, 5), {6: 5}),
}


class Router(nn.Module):
    """Token embedding and the scoring stages of one strictly causal HubRouter; its council is not needed here."""

    def __init__(self, vocab_size: int, config: RouterConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, config.d_model)
        self.norm = nn.RMSNorm(config.d_model)
        self.layer = HubRouter(config)

    def forward(self, tokens: Tensor) -> Tensor:
        """The scores by which the layer selects: [B, N] tokens of whole chunks to [B, G + 1, C], the header's first."""
        x, config = self.norm(self.embedding(tokens)), self.layer.config
        shape = (len(tokens), -1, config.chunk, 3, config.n_heads, config.head_width)
        q, k, v = self.layer.project(x).view(shape).permute(3, 0, 1, 4, 2, 5).unbind(0)
        closed = torch.ones(k.shape[0], k.shape[1] - 1, config.chunk, dtype=torch.bool, device=x.device)
        prefix = self.layer.encode(k[:, :-1], v[:, :-1], closed, self.layer.encode.start(len(tokens)))
        scores: Tensor = self.layer.score(self.layer.decode(q, prefix).fingerprint)
        return scores


def runs(options: Options) -> tuple[RunSpec, ...]:
    """Every cell with its seeds; all runs of a seed see the same sequences, and both arms of one start alike."""
    fixed = {"tier": options.tier, **asdict(SIZES[options.tier])}
    return tuple(
        RunSpec(NAME, {"hubs": hubs, "arm": arm, "lr": lr, **fixed}, seed, f"M = {hubs}, {arm}, {lr:g}, seed {seed}")
        for lr in RATES[options.tier]
        for arm in ARMS
        for hubs, seeds in CELLS[options.tier].seeds(arm).items()
        for seed in seeds
    )


def execute(spec: RunSpec, options: Options, progress: Progress) -> dict[str, Any]:
    """Train one router; divergence is an outcome that is recorded."""
    size = Size(**{field.name: spec.config[field.name] for field in fields(Size)})
    model = build(size, int(spec.config["hubs"]), spec.seed).to(options.device)
    weight = size.penalty if spec.config["arm"] == "orthogonal" else 0.0
    result = learn(model, size, float(spec.config["lr"]), weight, spec.seed, progress)
    overlap = float(hub_orthogonality(model).detach())  # mean squared cosine of two hubs: did the penalty act?
    return {
        **result,
        "overlap": overlap if math.isfinite(overlap) else None,
        "chance": size.task().chance,
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def build(size: Size, hubs: int, seed: int) -> Router:
    """The untrained router; the same seed gives the same weights."""
    with pinned(stream(seed, "weights")):
        return Router(size.task().vocab_size, size.router(hubs))


def learn(model: Router, size: Size, lr: float, weight: float, seed: int, progress: Progress) -> dict[str, Any]:
    """Train in place: recall over the steps, whether it converged, the first step seen at the threshold."""
    curve, loss = [[0, held_out_recall(model, size)]], math.inf
    for step, loss in enumerate(losses(model, size, lr, weight, seed), 1):
        due = step % size.every == 0 or step == size.steps
        now = held_out_recall(model, size) if due and math.isfinite(loss) else curve[-1][1]
        if not (math.isfinite(loss) and math.isfinite(now)):
            return outcome(curve, math.nan, size)
        curve += [[step, now]] if due else []
        progress(step, size.steps, f"recall {now:.2f}")
    return outcome(curve, loss, size)


def outcome(curve: list[list[float]], loss: float, size: Size) -> dict[str, Any]:
    """What the curve of [step, recall] and the last batch's nats come to.

    Diverged: the loss was not finite, or is above that of equal scores at the end; such a run has no final recall.
    """
    finite = math.isfinite(loss)
    diverged = not finite or loss > math.log(size.chunk) + 0.05  # equal scores cost log C up to rounding
    final = curve[-1][1] if finite else None
    return {
        "curve": curve,
        "nats": loss if finite else None,
        "recall": final,
        "converged": not diverged and final is not None and final >= THRESHOLD,
        "steps_to_threshold": next((int(step) for step, value in curve if value >= THRESHOLD), None),
        "diverged": diverged,
    }


def losses(model: Router, size: Size, lr: float, weight: float, seed: int) -> Iterator[float]:
    """One update a step; yields the batch's nats a relevant token before it, or not-a-number where it was refused."""
    task, batches = size.task(), generator(seed, "data")
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.95), weight_decay=0.1)
    for step in range(size.steps):
        nats = routing_nats(model, task.draw(size.batch, batches))
        loss = nats + weight * hub_orthogonality(model) if weight else nats
        if not math.isfinite(descend(optimizer, loss, rate=lr * min(1.0, (step + 1) / size.warmup))):
            yield math.nan
            return
        yield nats.item()


def routing_nats(model: Router, batch: Batch) -> Tensor:
    """Mean cross-entropy of the relevant tokens under the softmax of the scores of their chunk, in nats."""
    scores = model(batch.tokens.to(model.embedding.weight.device))[:, 1:]
    logs: Tensor = scores.log_softmax(-1)[batch.relevant.to(scores.device)]
    return -logs.mean()


@torch.no_grad()
def held_out_recall(model: Router, size: Size) -> float:
    """Recall@k on the held-out sequences, in [0, 1], of scores on the grid that the layer compares them on.

    Not-a-number where a score is not finite.
    """
    batch = size.task().draw(size.held_out, torch.Generator().manual_seed(HELD_OUT))
    scores = model(batch.tokens.to(model.embedding.weight.device))[:, 1:].flatten(1)
    if not scores.isfinite().all():
        return math.nan
    real = torch.ones_like(scores, dtype=torch.bool)
    rounded = model.layer.select.rounded(scores, real).cpu()
    return recall(rounded.view(batch.relevant.shape), batch)


EXPERIMENT = Experiment(NAME, runs, execute, not_hashed=OTHER_IMPLEMENTATIONS)
