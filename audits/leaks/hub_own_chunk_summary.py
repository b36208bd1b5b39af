"""Hub summaries that include the chunk being read."""

from __future__ import annotations

import torch
from torch import Tensor

from audits.leaks._hub import CONFIG, VOCAB, hub_gpt
from audits.twin import Twin
from audits.verdicts import LeakClass
from hubrouter import HubRouter, ModelConfig, SequenceModel
from hubrouter.encode import Encode, Summary


class InclusiveEncode(Encode):
    """The prefix at a chunk's border is taken one chunk late: chunk g reads the summary of chunks 0..g."""

    def forward(self, k: Tensor, v: Tensor, valid: Tensor, before: Summary) -> Summary:
        """The prefixes, shifted by one chunk."""
        prefix = super().forward(k, v, valid, before)
        return Summary._make(torch.cat([part[:, 1:], part[:, -1:]], dim=1) for part in prefix)


def layer(config: ModelConfig) -> HubRouter:
    """A HubRouter layer whose hubs have seen the own chunk; its parameters are those of the causal layer."""
    router = HubRouter(config.router())
    encode = InclusiveEncode(config.router())
    encode.load_state_dict(router.encode.state_dict())
    router.encode = encode
    return router


def leaky(config: ModelConfig = CONFIG) -> SequenceModel:
    """Hub-GPT reading own-chunk summaries."""
    return hub_gpt(layer, config)


def clean(config: ModelConfig = CONFIG) -> SequenceModel:
    """The strictly causal Hub-GPT."""
    return hub_gpt(config=config)


TWIN = Twin(
    name="hub_own_chunk_summary",
    mechanism="Hubs are updated with a chunk before its tokens read them, so a token reads a summary of its future.",
    origin="the same order of update and read as dingo-actual/infini-transformer#4, on HubRouter",
    leak_class=LeakClass.DENSE,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
)
