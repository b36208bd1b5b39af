"""A training run whose process is killed: `python killed_run.py CHECKPOINT STEP...` kills it at each step in turn.

The processes are forked from one that has torch loaded already, because loading it takes longer than the runs.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from audits.experiments.training.corpus import Corpus
from audits.experiments.training.training import TrainingConfig, TrainingOutcome, train

V = 11
STEPS = 12
CONFIG = TrainingConfig(steps=STEPS, batch=3, seq_len=12, warmup=4, lr=0.02, curve_points=STEPS)


class Averaging(nn.Module):
    """Everything a checkpoint has to hold: dropout, a buffer, one that state_dict omits, tied and frozen weights."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.embed = nn.Embedding(V, 8)
        self.head = nn.Linear(8, V)
        self.norm = nn.BatchNorm1d(8)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.3, generator=generator)
        self.head.weight = self.embed.weight
        self.frozen = nn.Parameter(torch.randn(8, generator=generator), requires_grad=False)
        self.register_buffer("mean", torch.zeros(8), persistent=False)
        self.register_buffer("seen", torch.tensor(0, dtype=torch.int64))

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = nn.functional.dropout(self.embed(tokens), 0.3, self.training) + self.frozen
        self.seen += tokens.numel()
        self.mean.lerp_(hidden.detach().mean((0, 1)), 0.1)
        normed = self.norm(hidden.transpose(1, 2)).transpose(1, 2)
        logits: Tensor = self.head(normed + self.mean * torch.rand(()))
        return logits


def corpus() -> Corpus:
    tokens = torch.randint(V, (900,), generator=torch.Generator().manual_seed(5)).sort().values
    return Corpus("made up", "ab" * 32, 900, tokens, tokens[:300], V, 300)


def state(model: nn.Module) -> dict[str, Tensor]:
    """All that training may change."""
    return {name: tensor.detach().clone() for name, tensor in (*model.named_parameters(), *model.named_buffers())}


def trained(path: Path | None, kill_after: int = 0, every: float = 0.0) -> tuple[TrainingOutcome, dict[str, Tensor]]:
    """The run's outcome and what it left in the model; it ends its process after the given step."""

    def progress(done: int, total: int, note: str = "") -> None:
        if kill_after and done == kill_after and note.startswith("loss"):
            os.kill(os.getpid(), signal.SIGKILL)

    torch.manual_seed(0)
    model = Averaging()
    return train(model, corpus(), CONFIG, 1, progress, checkpoint=path, checkpoint_seconds=every), state(model)


def kill_at(path: Path, steps: list[int]) -> None:
    """Runs that kill themselves as they report a step, and then some that are killed at any moment of a writing."""
    for step in steps:
        if not (child := os.fork()):
            trained(path, step)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        sys.stdout.write(f"{step}\n")
        sys.stdout.flush()
    for _ in range(8):
        if not (child := os.fork()):
            trained(path)
            os._exit(0)
        time.sleep(random.random() / 20)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


if __name__ == "__main__":
    torch.set_num_threads(1)
    kill_at(Path(sys.argv[1]), [int(step) for step in sys.argv[2:]])
