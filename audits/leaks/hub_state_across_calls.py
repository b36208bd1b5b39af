"""Hub state that outlives the call."""

from __future__ import annotations

from torch import Tensor

from audits.leaks._hub import hub_leak, with_stage
from audits.results import LeakClass
from hubrouter import HubRouter, ModelConfig
from hubrouter.encode import Encode, Summary


class RememberingEncode(Encode):
    """Starts from the summary with which the last call ended."""

    kept: Summary | None = None

    def start(self, batch: int) -> Summary:
        """What the last call left, where its batch was as large."""
        fresh = super().start(batch)
        return fresh if self.kept is None or len(self.kept.total) != batch else self.kept

    def forward(self, k: Tensor, v: Tensor, valid: Tensor, before: Summary) -> Summary:
        """The prefixes as ever; the last is kept."""
        prefix = super().forward(k, v, valid, before)
        self.kept = Summary._make(part[:, -1:].detach() for part in prefix)
        return prefix


def layer(config: ModelConfig) -> HubRouter:
    """A HubRouter layer with a memory it should not have; its parameters are those of the causal layer."""
    return with_stage(config, "encode", RememberingEncode(config.router()))


LEAK = hub_leak(
    "hub_state_across_calls",
    layer,
    LeakClass.STATE,
    mechanism="The hub summary of one call is where the next call starts, so a sequence depends on the one before.",
    origin="our own attack; the state that huggingface/transformers#25104 kept, on HubRouter",
)
leaky, clean = LEAK.leaky, LEAK.clean
