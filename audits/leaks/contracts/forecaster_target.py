"""A forecaster of several horizons at once that is given, as a covariate, the value it forecasts."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audits.leaks.contracts._parts import WIDTH, running_mean, seeded
from audits.leaks.contracts._planted import ContractLeak
from audits.subject.contract import Contract

LEAD = 3  # steps between the last value that a forecast may know and the one it is of


def measured(slots: Tensor) -> Tensor:
    """A value is available when it is measured."""
    return slots


def issued(slots: Tensor) -> Tensor:
    """The forecast of a value is due LEAD steps before it is measured; the first ones know one value."""
    return (slots - LEAD).clamp(min=0)


class Forecaster(nn.Module):
    """Values [B, N] to forecasts [B, N] of the same times."""

    def __init__(self) -> None:
        super().__init__()
        self.inlet, self.head = nn.Linear(1, WIDTH), nn.Linear(WIDTH, 1)

    def forward(self, values: Tensor) -> Tensor:
        """Forecast from what is known."""
        known = values[:, self.known(values.shape[1], values.device)]
        forecasts: Tensor = self.head(running_mean(self.inlet(known[..., None])).tanh())[..., 0]
        return forecasts

    def known(self, slots: int, device: torch.device) -> Tensor:
        """For each forecast, the slot of the last value it may know."""
        return issued(torch.arange(slots, device=device))


class InformedForecaster(Forecaster):
    """The same, one value too many."""

    def known(self, slots: int, device: torch.device) -> Tensor:
        """The value of the next issue: the planted defect."""
        return issued(torch.arange(slots, device=device) + 1)


LEAK = ContractLeak(
    name="forecaster_target",
    mechanism="A forecast depends on a value measured after it is issued, because the lead is counted one short.",
    leaky=lambda: seeded(InformedForecaster),
    clean=lambda: seeded(Forecaster),
    contract=Contract(inputs={"values": "past:features"}, available={"values": measured}, due=issued),
    reads=lambda source, sink: source == sink - LEAD + 1 >= 1,
    line="self.head(running_mean(",
    argument="values",
)
