"""A number of selected tokens that depends on the length of the sequence."""

from __future__ import annotations

import torch
from torch import Tensor

from audits.leaks._hub import hub_leak, with_stage
from audits.results import LeakClass
from hubrouter import HubRouter, ModelConfig
from hubrouter.council import Council, Members, Selected


class ProportionalCouncil(Council):
    """Reads one selected token for every twelve tokens of the whole sequence."""

    def forward(self, q: Tensor, selected: Selected, own: Members | None = None) -> Tensor:
        """The council over the first N / 12 slots."""
        slots = max(1, q.shape[1] * q.shape[3] // 12)
        open_slots = torch.arange(selected.valid.shape[-1], device=q.device) < slots
        return super().forward(q, selected._replace(valid=selected.valid & open_slots), own)


def layer(config: ModelConfig) -> HubRouter:
    """A HubRouter layer with k a share of the length; its parameters are those of the causal layer."""
    return with_stage(config, "council", ProportionalCouncil())


LEAK = hub_leak(
    "hub_length_dependent_k",
    layer,
    LeakClass.LENGTH,
    mechanism="k is a share of the sequence length, so how much an early token reads depends on how much follows.",
    origin="as in sramshetty/mixture-of-depths#4, on HubRouter",
)
leaky, clean = LEAK.leaky, LEAK.clean
