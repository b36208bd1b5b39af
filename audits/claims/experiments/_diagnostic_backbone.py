"""A frozen language model below a router (arXiv:2603.20997 freezes Pythia and Mamba): ours is trained here on bytes.

Its vocabulary, 256 bytes, is that of the task, whose tokens it reads as bytes. It is causal, as those are.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audits.corpora.library import read_standard_library
from audits.experiment import Progress
from hubrouter import ModelConfig, SequenceModel
from hubrouter.diagnostic.config import DiagnosticConfig

LAYERS, STEPS, BATCH, LR = "AAAA", 600, 16, 2e-3


class Frozen(nn.Module):
    """Tokens [B, N] to the last hidden states [B, N, D] of a model that is not trained any more."""

    def __init__(self, model: SequenceModel) -> None:
        super().__init__()
        self.model = model.eval().requires_grad_(False)

    @torch.no_grad()
    def forward(self, tokens: Tensor) -> Tensor:
        """Normalised hidden states."""
        x = self.model.embedding(tokens) * self.model.config.d_model**0.5
        for block in self.model.blocks:
            x = block(x)
        states: Tensor = self.model.norm(x)
        return states


def train_backbone(config: DiagnosticConfig, seed: int, progress: Progress) -> tuple[Frozen, float]:
    """A language model of the standard library's bytes, and its last loss in nats a byte.

    Raises:
        ValueError: the task has other tokens than bytes.
    """
    if config.vocab_size != 256:
        raise ValueError(f"a language model of bytes needs vocab_size=256, not {config.vocab_size}")
    text = torch.frombuffer(bytearray("\n".join(read_standard_library().train).encode()), dtype=torch.uint8)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = SequenceModel(ModelConfig(256, LAYERS, d_model=config.d_model, n_heads=config.n_heads))
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR)
    nats = torch.zeros(())
    for step in range(STEPS):
        starts = torch.randint(len(text) - config.length - 1, (BATCH, 1), generator=generator)
        window = text[starts + torch.arange(config.length + 1)].long()
        nats = F.cross_entropy(model(window[:, :-1]).flatten(0, 1), window[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        nats.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        progress(step, STEPS, f"language model {float(nats.detach()):.2f} nats a byte")
    return Frozen(model), float(nats.detach())
