"""A forecaster with a static covariate, whose target is divided by the mean of the whole series."""

from __future__ import annotations

from torch import Tensor, nn

from audits.leaks.contracts._parts import WIDTH, delayed, running_mean, seeded
from audits.leaks.contracts._planted import ContractLeak
from audits.subject.contract import Contract

STATIC = 3


class ScaledForecaster(nn.Module):
    """A static covariate [B, 3] and the target [B, N] to one-step forecasts [B, N]."""

    def __init__(self) -> None:
        super().__init__()
        self.static, self.inlet, self.head = nn.Linear(STATIC, WIDTH), nn.Linear(1, WIDTH), nn.Linear(WIDTH, 1)

    def forward(self, static: Tensor, target: Tensor) -> Tensor:
        """Scale, summarise what came before, forecast."""
        x = delayed((target / self.scale(target))[..., None])
        forecasts: Tensor = self.head((running_mean(self.inlet(x)) + self.static(static)[:, None]).tanh())[..., 0]
        return forecasts

    def scale(self, target: Tensor) -> Tensor:
        """The mean size of the values so far, [B, N]."""
        return 1 + running_mean(target.abs()[..., None])[..., 0]


class WholeScale(ScaledForecaster):
    """The same with one scale for the whole series."""

    def scale(self, target: Tensor) -> Tensor:
        """The mean size of all values, [B, 1]: the planted defect."""
        return 1 + target.abs().mean(1, keepdim=True)


LEAK = ContractLeak(
    name="whole_series_scale",
    mechanism="A forecast depends on all later values, because the target is normalised by its mean over the series.",
    leaky=lambda: seeded(WholeScale),
    clean=lambda: seeded(ScaledForecaster),
    contract=Contract(inputs={"static": f"held:features:={STATIC}", "target": "before:features"}),
    reads=lambda source, sink: source >= sink,
    line="target.abs().mean(1",
    argument="target",
)
