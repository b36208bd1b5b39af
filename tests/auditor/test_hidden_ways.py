"""Ways of a later token that an audit is easily blind to, each beside a model that does the same causally."""

from __future__ import annotations

import ctypes
import math

import pytest
import torch
import torch.nn.functional as F
from auditor_models import Tokens
from torch import Tensor, nn

from audits import audit
from audits.instruments.tracing.trace import traced
from audits.instruments.tracing.tracer import UNWRITTEN
from audits.probes.provenance import PROBE
from audits.results import Verdict
from audits.subject.prepare import prepare
from audits.subject.settings import Settings

VOCAB, IMAGE = 300, 298


class Attention(nn.Module):
    """Causal attention, with what a subclass changes of it."""

    def __init__(self, leaks: bool) -> None:
        super().__init__()
        self.leaks, self.qkv = leaks, nn.Linear(16, 48)

    def attend(self, x: Tensor, temperature: float = 1.0, seen: Tensor | None = None) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        causal = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril()
        seen = causal if seen is None else seen | causal
        return (q @ k.mT * temperature / 4).masked_fill(~seen, -math.inf).softmax(-1) @ v

    def attend_by_length(self, x: Tensor) -> Tensor:
        """With a temperature that depends on the length, where it leaks."""
        return self.attend(x, math.log(x.shape[1] + 1) if self.leaks else 1.0)


class EightBits(Attention):
    """A cast to eight bits beside a temperature that depends on the length."""

    def forward(self, x: Tensor) -> Tensor:
        scale = x.abs().amax(-1, keepdim=True).clamp(min=1e-4) / 448
        return self.attend_by_length(x) + (x / scale).to(torch.float8_e4m3fn).to(x.dtype) * scale


class CastToAnother(Attention):
    """The same beside a cast to the dtype of a plain attribute."""

    low = torch.zeros(1, dtype=torch.bfloat16)

    def forward(self, x: Tensor) -> Tensor:
        return self.attend_by_length(x) + x.to(self.low).type_as(x)


class MergedTail(Attention):
    """Chunks of 12; the last position alone is merged into the chunk before it, and seen there by all."""

    def forward(self, x: Tensor) -> Tensor:
        n = x.shape[1]
        seen = torch.zeros(n, n, dtype=torch.bool)
        if self.leaks and n % 12 == 1:
            seen[n - 13 :, n - 1] = True
        return self.attend(x, seen=seen)


class Model(nn.Module):
    """Images see each other in both directions, where a count says that there are several."""

    def __init__(self, leaks: bool) -> None:
        super().__init__()
        self.embedding, self.mixer, self.head = nn.Embedding(VOCAB, 16), Attention(leaks), nn.Linear(16, VOCAB)

    def forward(self, tokens: Tensor) -> Tensor:
        image, seen = tokens == IMAGE, None
        if self.mixer.leaks and len(image.nonzero()) > 0:
            seen = image[:, None] & image[:, :, None]
        return self.head(self.mixer.attend(self.embedding(tokens), seen=seen))


def verdict(model: nn.Module, length: int = 33, vocabulary: int | None = None) -> Verdict:
    return audit(model, vocab_size=vocabulary, seq_len=length).verdict


@pytest.mark.parametrize("kind", [EightBits, CastToAnother])
def test_a_coarse_cast_elsewhere_hides_no_leak(kind: type[Attention]) -> None:
    torch.manual_seed(0)
    assert verdict(Tokens(kind(leaks=True))) is Verdict.LEAK
    assert verdict(Tokens(kind(leaks=False))) is Verdict.PASS


def test_a_length_that_was_not_traced_is_tried() -> None:
    torch.manual_seed(0)
    assert verdict(Tokens(MergedTail(leaks=True)), 96) is Verdict.LEAK
    assert verdict(Tokens(MergedTail(leaks=False)), 96) is Verdict.PASS


def test_a_token_whose_presence_opens_a_mask_is_fed_though_no_value_is_read() -> None:
    torch.manual_seed(0)
    assert verdict(Model(leaks=True), vocabulary=VOCAB) is Verdict.LEAK
    assert verdict(Model(leaks=False), vocabulary=VOCAB) is Verdict.PASS


class Centred(torch.autograd.Function):
    """The identity, whose derivative is centred over time."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return gradient - gradient.mean(1, keepdim=True)


class BackwardOnly(nn.Module):
    """Mixes positions in the backward pass; `leaks` in the forward pass too."""

    def __init__(self, leaks: bool) -> None:
        super().__init__()
        self.leaks, self.inner = leaks, nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        x = Centred.apply(self.inner(x))
        return x + 1e-6 * x.mean(1, keepdim=True) if self.leaks else x


def test_a_derivative_that_no_value_follows_is_no_leak() -> None:
    torch.manual_seed(0)
    clean = audit(Tokens(BackwardOnly(leaks=False)), seq_len=16)
    assert clean.verdict is Verdict.PASS
    assert "backward pass alone" in next(p.why for p in clean.probes if p.name == "gradient")
    assert audit(Tokens(BackwardOnly(leaks=True)), seq_len=16, probes=["gradient"]).findings


class OutsideTorch(nn.Module):
    """What a kernel does that torch does not see: it reads and writes memory by its address."""

    def __init__(self, fills: bool) -> None:
        super().__init__()
        self.fills = fills

    def forward(self, x: Tensor) -> Tensor:
        x = x.contiguous()
        found = torch.empty_like(x)
        if self.fills:
            return found.copy_(x)
        ctypes.memmove(found.data_ptr(), x.data_ptr(), x.nbytes)
        return found


@pytest.mark.parametrize("fills", [True, False])
def test_memory_that_no_operation_wrote_proves_nothing(fills: bool) -> None:
    subject = prepare(Tokens(OutsideTorch(fills)), Settings(seq_len=12))
    found = traced(subject)
    assert found.is_complete is fills
    assert (UNWRITTEN in found.unknown) is not fills
    assert PROBE.run(subject).applicable is fills


def made_by(name: str, x: Tensor) -> Tensor:
    """A draw or a range that follows a number of the last position."""
    last = x[:, -1:].abs().amax(-1, keepdim=True).expand(x.shape) + 0.5
    if name == "bernoulli":
        return torch.bernoulli(last.sigmoid())
    if name == "normal":
        return torch.normal(last, 1.0)
    edges = torch.linspace(last.detach()[0, 0, 0] * 0, last.detach()[0, 0, 0], x.shape[-1], dtype=x.dtype)
    return edges.expand(x.shape)


@pytest.mark.parametrize("name", ["bernoulli", "normal", "linspace"])
def test_what_is_drawn_or_spaced_by_a_tensor_depends_on_it(name: str) -> None:
    class Mixer(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + F.relu(made_by(name, x))

    assert bool(traced(prepare(Tokens(Mixer()), Settings(seq_len=9))).leaking().any())
