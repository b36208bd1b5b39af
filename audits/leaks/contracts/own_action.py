"""A policy that reads, at every step, the action that it is trained to predict."""

from __future__ import annotations

from torch import Tensor, nn

from audits.leaks.contracts._parts import WIDTH, delayed, running_mean, seeded
from audits.leaks.contracts._planted import ContractLeak
from audits.subject.contract import Contract

STATES, ACTIONS = 6, 3


class Policy(nn.Module):
    """States [B, N, S] and actions [B, N, A] to actions [B, N, A], from the states so far and earlier actions."""

    def __init__(self) -> None:
        super().__init__()
        self.states, self.actions = nn.Linear(STATES, WIDTH), nn.Linear(ACTIONS, WIDTH)
        self.head = nn.Linear(WIDTH, ACTIONS)

    def forward(self, states: Tensor, actions: Tensor) -> dict[str, Tensor]:
        """Actions, and the values of the states, which know no action."""
        seen = running_mean(self.states(states))
        chosen = self.chosen(self.actions(actions))
        return {"action_preds": self.head((seen + running_mean(chosen)).tanh()), "values": seen.sum(-1)}

    def chosen(self, x: Tensor) -> Tensor:
        """What is known of actions at each step."""
        return delayed(x)


class SeeingPolicy(Policy):
    """The same, shown the action of the step."""

    def chosen(self, x: Tensor) -> Tensor:
        """Not delayed: the planted defect."""
        return x + 0


LEAK = ContractLeak(
    name="own_action",
    mechanism="The prediction of an action depends on that action, because actions are fed without a shift.",
    leaky=lambda: seeded(SeeingPolicy),
    clean=lambda: seeded(Policy),
    contract=Contract(inputs={"states": "past", "actions": "before"}, output="action_preds"),
    reads=lambda source, sink: source == sink,
    line="(seen + running_mean(chosen))",
    argument="actions",
)
