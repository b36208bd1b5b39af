"""A streaming recogniser that waits for two frames, and forgets those before a piece that it needs too."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audits.leaks.contracts._parts import WIDTH, seeded
from audits.leaks.contracts._planted import ContractLeak
from audits.subject.contract import Contract, Stream

BEFORE, AHEAD = 2, 2


class Recogniser(nn.Module):
    """Features [B, N, D] to [B, N, D], each output from two frames before it to two after it."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(WIDTH, WIDTH, BEFORE + 1 + AHEAD)

    def forward(self, x: Tensor) -> Tensor:
        """The whole sequence, with zeros around it."""
        return self.mixed(F.pad(x, (0, 0, BEFORE, AHEAD)))

    def mixed(self, x: Tensor) -> Tensor:
        """The outputs of the frames [B, N, D] that have all their neighbours."""
        y: Tensor = self.convolution(x.mT).mT
        return y.tanh()

    def history(self, x: Tensor) -> Tensor:
        """What remains for the next piece of the frames so far."""
        return x[:, -(BEFORE + AHEAD) :]


class Forgetful(Recogniser):
    """The same, which keeps what is not answered yet alone."""

    def history(self, x: Tensor) -> Tensor:
        """Zeros in place of the frames before: the planted defect."""
        return F.pad(x[:, -AHEAD:], (0, 0, BEFORE, 0))


def step(model: Recogniser, piece: Tensor, state: Any) -> tuple[Tensor, Any]:
    """The outputs that are due, those of two frames ago; none of the first piece may be."""
    frames = F.pad(piece, (0, 0, BEFORE, 0)) if state is None else torch.cat([state, piece], 1)
    if frames.shape[1] <= BEFORE + AHEAD:
        return piece[:, :0], frames
    return model.mixed(frames), model.history(frames)


LEAK = ContractLeak(
    name="stream_without_history",
    mechanism="Decoding loses the frames before a piece, so its outputs are not those of one pass.",
    leaky=lambda: seeded(Forgetful),
    clean=lambda: seeded(Recogniser),
    contract=Contract(lookahead=AHEAD, stream=Stream(step)),
    line="self.convolution(x.mT)",
    width=WIDTH,
)
