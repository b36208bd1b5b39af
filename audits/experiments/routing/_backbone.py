"""A frozen language model below a router (arXiv:2603.20997 freezes Pythia and Mamba): trained here on bytes, or loaded.

The vocabulary of ours, 256 bytes, is that of the task, whose tokens it reads as bytes; one that is loaded reads them as
token ids, for the paper does not say otherwise. All are causal.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audits.evidence.experiment import Progress
from audits.experiments.training.corpora.library import read_standard_library
from audits.experiments.training.descent import descend
from audits.experiments.training.seeds import stream
from audits.subject.randomness import generator, pinned
from hubrouter import ModelConfig, SequenceModel
from hubrouter.config import ConfigError
from hubrouter.diagnostic.config import DiagnosticConfig

LAYERS, STEPS, BATCH, LR = "AAAA", 200, 16, 2e-3


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


class Loaded(nn.Module):
    """Tokens [B, N] to the last hidden states of a model that is not trained, mapped to [B, N, D] by what is."""

    def __init__(self, model: nn.Module, width: int, d_model: int) -> None:
        super().__init__()
        self.model = model.eval().requires_grad_(False)
        self.narrow = nn.Linear(width, d_model, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """No token reaches another one by the map alone."""
        with torch.no_grad():
            states = self.model(input_ids=tokens).last_hidden_state
        narrowed: Tensor = self.narrow(states.to(self.narrow.weight.dtype))
        return narrowed


def load_backbone(name: str, config: DiagnosticConfig, seed: int) -> Loaded:
    """The model of this name or in this folder, by transformers.

    Raises:
        ConfigError: transformers is not installed, there is no such model, or the task has more tokens than it knows.
    """
    try:
        from transformers import AutoModel
    except ImportError as missing:
        raise ConfigError("a backbone hf:NAME needs transformers: python -m pip install transformers") from missing
    try:
        model = AutoModel.from_pretrained(name)
    except (OSError, ValueError) as problem:
        raise ConfigError(f"hf:{name} cannot be loaded: {str(problem).strip().splitlines()[0]}") from problem
    if model.config.vocab_size < config.vocab_size:
        raise ConfigError(f"hf:{name} knows {model.config.vocab_size} tokens, and the task has {config.vocab_size}")
    with pinned(stream(seed, "backbone")):
        return Loaded(model, model.config.hidden_size, config.d_model)


def train_backbone(config: DiagnosticConfig, seed: int, progress: Progress) -> tuple[Frozen, float]:
    """A language model of the standard library's bytes, and its last loss in nats a byte.

    Raises:
        ValueError: the task has other tokens than bytes.
    """
    if config.vocab_size != 256:
        raise ValueError(f"a language model of bytes needs vocab_size=256, not {config.vocab_size}")
    text = torch.frombuffer(bytearray("\n".join(read_standard_library().train).encode()), dtype=torch.uint8)
    with pinned(stream(seed, "backbone")):
        model = SequenceModel(ModelConfig(256, LAYERS, d_model=config.d_model, n_heads=config.n_heads))
    places = generator(seed, "text")
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR)
    nats = torch.zeros(())
    for step in range(STEPS):
        starts = torch.randint(len(text) - config.length - 1, (BATCH, 1), generator=places)
        window = text[starts + torch.arange(config.length + 1)].long()
        nats = F.cross_entropy(model(window[:, :-1]).flatten(0, 1), window[:, 1:].flatten())
        descend(optimizer, nats)
        progress(step, STEPS, f"language model {float(nats.detach()):.2f} nats a byte")
    return Frozen(model), float(nats.detach())
