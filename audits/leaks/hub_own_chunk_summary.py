"""Hub summaries that include the chunk being read."""

from __future__ import annotations

import torch
from torch import Tensor

from audits.leaks._hub import hub_leak, with_stage
from audits.results import LeakClass
from hubrouter import HubRouter, ModelConfig
from hubrouter.encode import Encode, Summary


class InclusiveEncode(Encode):
    """The prefix at a chunk's border is taken one chunk late: chunk g reads the summary of chunks 0..g."""

    def forward(self, k: Tensor, v: Tensor, valid: Tensor, before: Summary) -> Summary:
        """The prefixes, shifted by one chunk."""
        prefix = super().forward(k, v, valid, before)
        return Summary._make(torch.cat([part[:, 1:], part[:, -1:]], dim=1) for part in prefix)


def layer(config: ModelConfig) -> HubRouter:
    """A HubRouter layer whose hubs have seen the own chunk; its parameters are those of the causal layer."""
    return with_stage(config, "encode", InclusiveEncode(config.router()))


LEAK = hub_leak(
    "hub_own_chunk_summary",
    layer,
    LeakClass.DENSE,
    mechanism="Hubs are updated with a chunk before its tokens read them, so a token reads a summary of its future.",
    origin="the same order of update and read as dingo-actual/infini-transformer#4, on HubRouter",
)
leaky, clean = LEAK.leaky, LEAK.clean
