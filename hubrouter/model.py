"""`SequenceModel`: a plain pre-norm decoder built from a layer pattern, one letter a layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hubrouter.config import ConfigError, ModelConfig
from hubrouter.mixers.discover import Builder, builders
from hubrouter.shapes import Bool, Float, Int

State = tuple[Any, ...]  # one mixer state a layer


class Block(nn.Module):
    """x + mixer(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, config: ModelConfig, mixer: nn.Module) -> None:
        super().__init__()
        width = config.mlp_ratio * config.d_model
        self.mixer_norm = nn.RMSNorm(config.d_model)
        self.mixer = mixer
        self.mlp_norm = nn.RMSNorm(config.d_model)
        self.mlp = nn.Sequential(
            nn.Linear(config.d_model, width, bias=False), nn.GELU(), nn.Linear(width, config.d_model, bias=False)
        )

    def forward(self, x: Float[Tensor, "B N D"], valid: Bool[Tensor, "B N"] | None = None) -> Float[Tensor, "B N D"]:
        """One layer over the whole sequence."""
        return self._mlp(x + self.mixer(self.mixer_norm(x), valid))

    def stream(self, x: Float[Tensor, "B N D"], state: Any) -> tuple[Float[Tensor, "B N D"], Any]:
        """One layer over the next tokens of a stream."""
        mixed, state = cast("Any", self.mixer).stream(self.mixer_norm(x), state)
        return self._mlp(x + mixed), state

    def _mlp(self, x: Tensor) -> Tensor:
        output: Tensor = x + self.mlp(self.mlp_norm(x))
        return output


class SequenceModel(nn.Module):
    """Tokens [B, N] to logits [B, N, V]; the embedding is tied to the output.

    Args:
        config: widths and layer pattern, for instance "HHHH" for a Hub-GPT or "AAAA" for a Transformer.
        mixers: builders that replace or add letters, for experiments with other mixers.

    Raises:
        ConfigError: the pattern contains an unknown letter.
    """

    def __init__(self, config: ModelConfig, mixers: Mapping[str, Builder] | None = None) -> None:
        super().__init__()
        known = {**builders(), **(mixers or {})}
        unknown = sorted(set(config.pattern) - set(known))
        if unknown:
            raise ConfigError(f"pattern {config.pattern!r} has unknown letters {unknown}; known are {sorted(known)}")
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.blocks = nn.ModuleList(Block(config, known[letter](config)) for letter in config.pattern)
        self.norm = nn.RMSNorm(config.d_model)
        nn.init.normal_(self.embedding.weight, std=config.d_model**-0.5)

    def forward(self, tokens: Int[Tensor, "B N"], valid: Bool[Tensor, "B N"] | None = None) -> Float[Tensor, "B N V"]:
        """Logits of the next token at every position; `valid` is True where a token is real."""
        x = self._embed(tokens)
        for block in self.blocks:
            x = block(x, valid)
        return self._logits(x)

    def stream(self, tokens: Int[Tensor, "B N"], state: State | None = None) -> tuple[Float[Tensor, "B N V"], State]:
        """Logits of the next N tokens of a stream and the state to pass with the tokens after them."""
        x, states = self._embed(tokens), []
        for block, before in zip(self.blocks, state or (None,) * len(self.blocks), strict=True):
            x, after = cast("Block", block).stream(x, before)
            states.append(after)
        return self._logits(x), tuple(states)

    @torch.no_grad()
    def generate(
        self, tokens: Int[Tensor, "B N"], count: int, temperature: float = 0.0, generator: torch.Generator | None = None
    ) -> Int[Tensor, "B T"]:
        """Continue `tokens` by `count` tokens: greedily at temperature 0, else sampled with `generator`."""
        logits, state = self.stream(tokens)
        drawn: list[Tensor] = []
        while len(drawn) < count:
            drawn.append(_draw(logits[:, -1], temperature, generator))
            if len(drawn) < count:
                logits, state = self.stream(drawn[-1], state)
        return torch.cat([tokens, *drawn], dim=1)

    def _embed(self, tokens: Tensor) -> Tensor:
        # Tied weights have rows of norm 1 for the logits; the first layer expects features of order 1.
        x: Tensor = self.embedding(tokens) * self.config.d_model**0.5
        return x

    def _logits(self, x: Tensor) -> Tensor:
        return F.linear(self.norm(x), self.embedding.weight)


def _draw(logits: Float[Tensor, "B V"], temperature: float, generator: torch.Generator | None) -> Int[Tensor, "B 1"]:
    if temperature == 0:
        return logits.argmax(-1, keepdim=True)
    return torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator)
