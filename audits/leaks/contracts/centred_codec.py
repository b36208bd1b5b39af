"""A codec whose convolution over frames is centred: a frame is coded with the samples of the next one."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from audits.leaks.contracts._parts import WIDTH, seeded
from audits.leaks.contracts._planted import ContractLeak
from audits.subject.contract import Contract

HOP, CHANNELS, KERNEL = 4, 2, 3


class Codec(nn.Module):
    """Samples [B, 2, N] to codes [B, D, N / HOP], each frame from its own and earlier samples."""

    def __init__(self) -> None:
        super().__init__()
        self.frames = nn.Conv1d(CHANNELS, WIDTH, HOP, stride=HOP)
        self.context = nn.Conv1d(WIDTH, WIDTH, KERNEL)

    def forward(self, audio: Tensor) -> Tensor:
        """Cut into frames, then mix them."""
        codes: Tensor = self.context(self.pad(self.frames(audio).tanh()))
        return codes

    def pad(self, x: Tensor) -> Tensor:
        """Zeros before the first frame."""
        return F.pad(x, (KERNEL - 1, 0))


class CentredCodec(Codec):
    """The same with its convolution centred."""

    def pad(self, x: Tensor) -> Tensor:
        """Zeros on both sides: the planted defect."""
        return F.pad(x, (KERNEL // 2, KERNEL // 2))


LEAK = ContractLeak(
    name="centred_codec",
    mechanism="A frame depends on the samples of the next one, because the convolution over frames is centred.",
    leaky=lambda: seeded(CentredCodec),
    clean=lambda: seeded(Codec),
    contract=Contract(hop=HOP, inputs={"audio": f"past:features:{CHANNELS}"}, input_axis=2, output_axis=2),
    reads=lambda source, sink: source // HOP == sink + 1,
    line="self.context(self.pad(",
    argument="audio",
    seq_len=48,
)
