"""Does HubRouter's routing find what only distant tokens determine? Arms trained alike on two such tasks.

`mqar` is Zoology's associative recall, `repeats` a noise text with planted copies (`_distant_tasks`). Both are learnt
on short sequences first and end at 512 tokens, because attention does not leave the plateau "some value of the context"
within our budget where it starts on long ones. In the first stage all evidence lies in the own chunk of 16 tokens, so
every arm but the one without an own chunk can learn the task there; the later stages ask whether it finds evidence
elsewhere.

Each arm tries three learning rates with one seed, on sequences of their own; the judged seeds follow at the best one.
All sizes are our choice. Pilots of attention alone, on seeds that no run here has, chose the vocabulary, the stages and
MLPs as wide as the model: with wider ones, and in batches of more tokens, attention leaves the plateau no earlier.
Repeats begin with a stage of recall, because attention did not learn copies alone in as many steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from audits.auditor.audit import audit
from audits.auditor.presets import PRESETS
from audits.evidence.experiment import Experiment, Options, Progress, RunSpec
from audits.evidence.ledger import Evidence
from audits.experiments.language_models._distant_tasks import TASKS, Questions
from audits.experiments.language_models._selection import hub_inputs
from audits.experiments.reference import OTHER_IMPLEMENTATIONS
from audits.experiments.training.descent import descend
from audits.experiments.training.seeds import stream
from audits.experiments.training.tuning import best
from audits.subject.randomness import generator, pinned
from hubrouter import ModelConfig, SequenceModel
from hubrouter.diagnostic.tasks.mqar import IGNORED
from hubrouter.shapes import Bool, Float, Int

NAME = "distant"
ARMS: Mapping[str, Mapping[str, Any]] = {
    "attention": {"pattern": "AA"},
    "HubRouter": {"pattern": "HH"},
    "own chunk alone": {"pattern": "HH", "council": "chunk", "readout": False},
    "random selection": {"pattern": "HH", "selection": "random"},
    "no read-out": {"pattern": "HH", "readout": False},
    "selected alone": {"pattern": "HH", "council": "selected"},
    "window": {"pattern": "WW"},
}
CONTROL, ROUTED, LOCAL = "attention", "HubRouter", "own chunk alone"
TUNING_SEED, FIRST_SEED = 900, 100
TUNING, HELD_OUT = 1_000_033, 1_000_003  # the generator seeds of the sequences that choose a rate, and of the judged
DISTANCES = 8  # parts of the length by which accuracy is split
BLOCKS = 16  # of held-out sequences: the noise of the sequences is estimated from them
CURVE = 40  # points of the loss curve
ROWS = 16  # sequences in one forward pass of an evaluation
WARMUP, FALL = 0.05, 0.2  # the shares of steps in which the rate rises, and in which it falls to a tenth


class Stage(NamedTuple):
    """Training steps on batches of one kind of sequences."""

    steps: int
    batch: int
    task: str
    sizes: Mapping[str, int]

    def draw(self, vocab_size: int, batch: int, generator: torch.Generator) -> Questions:
        """Sequences of this stage."""
        questions: Questions = TASKS[self.task](vocab_size, **self.sizes).draw(batch, generator)
        return questions


def recall(steps: int, batch: int, length: int, pairs: int) -> Stage:
    """A stage of MQAR."""
    return Stage(steps, batch, "mqar", {"length": length, "pairs": pairs})


def repeats(steps: int, batch: int, length: int, spans: int, width: int, reach: int) -> Stage:
    """A stage of planted repeats."""
    return Stage(steps, batch, "repeats", {"length": length, "spans": spans, "width": width, "reach": reach})


@dataclass(frozen=True)
class Size:
    """The models, the training and the held-out sequences of one tier; the last stage is what is judged."""

    model: Mapping[str, int]
    stages: Mapping[str, tuple[Stage, ...]]
    rates: tuple[float, ...]
    seeds: int
    held_out: int
    vocab_size: int = 64


SIZES = {
    "full": Size(
        {"d_model": 64, "mlp_ratio": 1, "n_hubs": 8, "k": 32, "chunk": 16, "window": 16},
        {
            "mqar": (
                recall(700, 32, length=16, pairs=4),
                recall(60, 32, length=32, pairs=8),
                recall(60, 16, length=64, pairs=16),
                recall(60, 8, length=128, pairs=16),
                recall(60, 4, length=256, pairs=16),
                recall(160, 2, length=512, pairs=16),
            ),
            "repeats": (
                recall(700, 32, length=16, pairs=4),
                repeats(120, 16, length=32, spans=4, width=4, reach=16),
                repeats(60, 16, length=64, spans=8, width=4, reach=32),
                repeats(60, 8, length=128, spans=8, width=4, reach=64),
                repeats(60, 8, length=256, spans=8, width=4, reach=128),
                repeats(80, 4, length=512, spans=8, width=4, reach=256),
                repeats(60, 4, length=512, spans=8, width=4, reach=128),
            ),
        },
        rates=(1.6e-3, 4e-3, 1e-2),
        seeds=3,
        held_out=128,
    ),
    "paper": Size(
        {"d_model": 128, "n_hubs": 8, "k": 128, "chunk": 64, "window": 64},
        {
            "mqar": (
                recall(20_000, 256, length=64, pairs=4),
                recall(20_000, 128, length=128, pairs=16),
                recall(20_000, 64, length=256, pairs=32),
                recall(40_000, 64, length=512, pairs=64),
            ),
            "repeats": (
                recall(20_000, 256, length=64, pairs=4),
                repeats(20_000, 128, length=128, spans=8, width=8, reach=64),
                repeats(20_000, 64, length=512, spans=16, width=8, reach=256),
                repeats(40_000, 64, length=512, spans=16, width=8, reach=128),
            ),
        },
        rates=(5e-4, 1e-3, 2e-3),
        seeds=3,
        held_out=1024,
        vocab_size=8192,
    ),
}


def runs(options: Options) -> tuple[RunSpec, ...]:
    """The tuning runs: every arm at every rate. None in `quick`, where no arm would learn the tasks."""
    if options.tier == "quick":
        return ()
    return tuple(spec for task in TASKS for arm in ARMS for spec in tuning_runs(options, task, arm))


def judged(options: Options, fresh: Evidence) -> tuple[RunSpec, ...]:
    """Every arm whose tuning is complete, at the rate of its lowest tuning loss, with the judged seeds."""
    if options.tier == "quick":
        return ()
    seeds = range(FIRST_SEED, FIRST_SEED + SIZES[options.tier].seeds)
    rates = {(task, arm): rate_of(options, fresh, task, arm) for task in TASKS for arm in ARMS}
    return tuple(
        _run(options, task, arm, rate, seed)
        for seed in seeds
        for (task, arm), rate in rates.items()
        if rate is not None
    )


def rate_of(options: Options, fresh: Evidence, task: str, arm: str) -> float | None:
    """The rate of the lowest tuning loss, the middle one where all diverge; None while a tuning run is missing."""
    config = best(tuning_runs(options, task, arm), fresh, lambda record: record.result["tuning_nats"])
    return None if config is None else float(config["lr"])


def tuning_runs(options: Options, task: str, arm: str) -> tuple[RunSpec, ...]:
    """An arm at every rate."""
    return tuple(_run(options, task, arm, rate, TUNING_SEED) for rate in SIZES[options.tier].rates)


def _run(options: Options, task: str, arm: str, rate: float, seed: int) -> RunSpec:
    size = SIZES[options.tier]
    config = {
        "tier": options.tier,
        "task": task,
        "arm": arm,
        "lr": rate,
        "model": {"vocab_size": size.vocab_size, **size.model, **ARMS[arm]},
        "stages": [stage._asdict() for stage in size.stages[task]],
        "held_out": size.held_out,
    }
    return RunSpec(NAME, config, seed, f"{task}, {arm}, {rate:g}, seed {seed}")


def execute(spec: RunSpec, options: Options, progress: Progress) -> dict[str, Any]:
    """Train one arm with one seed; then what it answers on sequences that no training has seen."""
    config = spec.config
    model = build(config["model"], spec.seed).to(options.device)
    curve = learn(model, config, spec.seed, progress)
    measured = measure(model, config) if math.isfinite(curve[-1][1]) else {"nats": None, "tuning_nats": None}
    nats = measured["nats"]
    return {
        "curve": [point for point in curve if math.isfinite(point[1])],
        # Equal scores for all tokens cost log V.
        "diverged": nats is None or nats > math.log(config["model"]["vocab_size"]) + 1,
        **measured,
        "parameters": sum(p.numel() for p in model.parameters()),
        "audit": _audited(model, spec, options.device) if spec.seed == FIRST_SEED else None,
    }


def build(shape: Mapping[str, Any], seed: int) -> SequenceModel:
    """The untrained model of an arm: of one seed, all arms have the same weights wherever shapes agree."""
    with pinned(stream(seed, "weights")):
        model = SequenceModel(ModelConfig(**shape))
    with pinned(stream(seed, "weights")):
        common = SequenceModel(ModelConfig(**{**shape, **_PLAIN}))
    own = model.state_dict()
    shared = {name: w for name, w in common.state_dict().items() if name in own and own[name].shape == w.shape}
    model.load_state_dict(shared, strict=False)
    return model


_PLAIN = {"pattern": "HH", "council": "selected+chunk", "selection": "learned", "readout": True}


def learn(model: SequenceModel, config: Mapping[str, Any], seed: int, progress: Progress) -> list[list[float]]:
    """Train in place; [step, mean nats a label since the point before]. A loss that is not finite ends the run."""
    total = sum(stage["steps"] for stage in config["stages"])
    every, curve, since = math.ceil(total / CURVE), list[list[float]](), list[float]()
    for step, loss in enumerate(_losses(model, config, seed, total), 1):
        since.append(loss)
        if step % every == 0 or step == total or not math.isfinite(loss):
            curve.append([step, sum(since) / len(since)])
            since = []
        progress(step, total, f"loss {loss:.3f}")
        if not math.isfinite(loss):
            break
    return curve


def rate_at(step: int, total: int, peak: float) -> float:
    """The learning rate of a 0-based step: a rise, constant, then a straight fall to a tenth."""
    rise, left = (step + 1) / max(1.0, WARMUP * total), (total - step) / max(1.0, FALL * total)
    return peak * min(1.0, rise, 0.1 + 0.9 * left)


def _losses(model: SequenceModel, config: Mapping[str, Any], seed: int, total: int) -> Iterator[float]:
    """One update a step; yields the loss before it, or not-a-number where the gradient is not finite."""
    batches = generator(seed, "data")
    optimizer = torch.optim.AdamW(model.parameters(), lr=config["lr"], betas=(0.9, 0.95), weight_decay=0.0)
    drawn = (
        stage.draw(config["model"]["vocab_size"], stage.batch, batches)
        for stage in (Stage(**entry) for entry in config["stages"])
        for _ in range(stage.steps)
    )
    for step, questions in enumerate(drawn):
        asked = questions.labels != IGNORED
        device = model.embedding.weight.device
        logits = model(questions.tokens.to(device))[asked.to(device)]
        loss = F.cross_entropy(logits, questions.labels[asked].to(device))
        if not math.isfinite(descend(optimizer, loss, rate=rate_at(step, total, config["lr"]))):
            yield math.nan
            return
        yield loss.item()


class Answers(NamedTuple):
    """Of Q labels: the loss, whether the best token is the label, its row and position, and that of its evidence."""

    nats: Float[Tensor, " Q"]
    correct: Bool[Tensor, " Q"]
    row: Int[Tensor, " Q"]
    at: Int[Tensor, " Q"]
    evidence: Int[Tensor, " Q"]


@torch.no_grad()
def answers(model: SequenceModel, questions: Questions) -> Answers:
    """What the model answers, all on the CPU."""
    asked, device = questions.labels != IGNORED, model.embedding.weight.device
    parts = zip(questions.tokens.split(ROWS), asked.split(ROWS), strict=True)
    logits = torch.cat([model(tokens.to(device))[part.to(device)].float().cpu() for tokens, part in parts])
    labels = questions.labels[asked]
    nats = F.cross_entropy(logits, labels, reduction="none")
    row, at = asked.nonzero(as_tuple=True)
    return Answers(nats, logits.argmax(-1) == labels, row, at, questions.evidence[asked])


def measure(model: SequenceModel, config: Mapping[str, Any]) -> dict[str, Any]:
    """Losses in nats a label, and accuracies as [questions, correct ones].

    `own_chunk`: the evidence lies in the query's chunk. `kept`: it does not, but all earlier chunks fit into the slots,
    so that nothing has to be chosen. `distant`: the others, which decide; also by distance, [from, to, questions,
    correct], and by block of sequences. `stages`: all questions of sequences of each stage. `selected`: of each layer
    that selects, the share of distant questions whose evidence is selected.
    """
    shape, stages = config["model"], [Stage(**entry) for entry in config["stages"]]

    def draw(seed: int, stage: Stage, count: int = config["held_out"]) -> Questions:
        return stage.draw(shape["vocab_size"], count, torch.Generator().manual_seed(seed))

    length, questions = stages[-1].sizes["length"], draw(HELD_OUT, stages[-1])
    found = answers(model, questions)
    own = found.at // shape["chunk"] == found.evidence // shape["chunk"]
    kept = ~own & (found.at // shape["chunk"] * shape["chunk"] <= shape["k"])
    distant, distance = ~own & ~kept, found.at - found.evidence
    blocks = found.row * BLOCKS // config["held_out"]
    edges = [length * part // DISTANCES for part in range(DISTANCES + 1)]
    nats, tuning = (float(part.nats.double().mean()) for part in (found, answers(model, draw(TUNING, stages[-1]))))
    if not math.isfinite(nats + tuning):
        return {"nats": None, "tuning_nats": None}
    return {
        "nats": nats,
        "tuning_nats": tuning,
        "own_chunk": _counted(found.correct[own]),
        "kept": _counted(found.correct[kept]),
        "distant": _counted(found.correct[distant]),
        "distances": [
            [low, high, *_counted(found.correct[distant & (distance >= low) & (distance < high)])]
            for low, high in pairwise(edges)
        ],
        "blocks": [_counted(found.correct[distant & (blocks == block)]) for block in range(BLOCKS)],
        "stages": [_counted(answers(model, draw(TUNING, stage, ROWS)).correct) for stage in stages],
        "selected": _selected(model, questions.tokens, found, distant),
    }


def _counted(correct: Bool[Tensor, " Q"]) -> list[int]:
    return [correct.numel(), int(correct.sum())]


def _selected(
    model: SequenceModel, tokens: Int[Tensor, "B N"], found: Answers, distant: Bool[Tensor, " Q"]
) -> list[float]:
    """Of each hub layer with slots, the share of distant questions whose evidence it has selected for their chunk."""
    row, at, evidence = found.row[distant], found.at[distant], found.evidence[distant]
    shares = []
    for layer, x in hub_inputs(model, tokens.to(model.embedding.weight.device)):
        if layer.config.slots and len(row):
            chosen = layer.selected(x).cpu()[row, at // layer.config.chunk]
            shares.append(float((chosen == evidence[:, None]).any(-1).double().mean()))
    return shares


def _audited(model: SequenceModel, spec: RunSpec, device: str) -> str:
    """The verdict of the quick audit on the trained weights, once an arm: it costs as much as a fifth of a run."""
    length = 6 * spec.config["model"]["chunk"]
    return str(audit(model, seq_len=length, seed=spec.seed, device=device, probes=PRESETS["quick"]).verdict)


EXPERIMENT = Experiment(
    NAME,
    runs,
    execute,
    not_hashed=(
        *OTHER_IMPLEMENTATIONS,
        "audits.auditor.audit",
        "audits.auditor.presets",
        "audits.evidence.ledger",
        "audits.experiments.language_models._selection",
    ),
    not_compared=("audit",),
    follow_up=judged,
)
