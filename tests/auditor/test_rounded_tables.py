"""Tables that a model made in float32 keep that rounding in float64; what follows from it is no leak."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audits import audit
from audits.results import Verdict


class Decays(nn.Module):
    """A fading memory, from powers of its rates in one pass and from its rates in steps; both come in float32."""

    def __init__(self, late: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.late = late  # what streaming adds by mistake
        self.embedding, self.head = nn.Embedding(16, 8), nn.Linear(8, 16)
        rate = torch.exp(-torch.rand(8))
        self.register_buffer("rate", rate)
        self.register_buffer("powers", rate ** torch.arange(64.0)[:, None])

    def hidden(self, tokens: Tensor) -> Tensor:
        return self.embedding(tokens).float().to(self.rate.dtype)

    def forward(self, tokens: Tensor) -> Tensor:
        positions = torch.arange(tokens.shape[1])
        lag = positions[:, None] - positions
        kernel = self.powers[lag.clamp(min=0)] * (lag >= 0)[..., None]
        return self.head(torch.einsum("tsd,bsd->btd", kernel, self.hidden(tokens)))

    def stream(self, piece: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        memory = torch.zeros(len(piece), 8, dtype=self.rate.dtype) if state is None else state + self.late
        outputs = []
        for hidden in self.hidden(piece).unbind(1):
            memory = memory * self.rate + hidden
            outputs.append(self.head(memory))
        return torch.stack(outputs, 1), memory


def test_streaming_that_reads_other_tables_rounded_alike_passes() -> None:
    result = audit(Decays(), seq_len=24)
    assert result.verdict is Verdict.PASS, [(probe.name, probe.why) for probe in result.probes]


def test_streaming_that_is_wrong_by_more_than_such_rounding_is_still_found() -> None:
    result = audit(Decays(late=1e-5), seq_len=24, probes=["decode"])
    assert result.verdict is Verdict.LEAK
