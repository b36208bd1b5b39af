"""Padding masks: conventions are read from the model, right models pass whatever they do at padding, leaks do not."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from auditor_models import LENGTH, VOCAB, WIDTH
from torch import Tensor, nn

from audits import audit
from audits.leaks import all_leaks
from audits.results import AuditResult, LeakClass, Verdict


def causal(x: Tensor) -> Tensor:
    return torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril()


class Padded(nn.Module):
    """Attention among the real tokens; subclasses say what takes the mask, and what else is done with it."""

    real = True

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.head = nn.Embedding(VOCAB, WIDTH), nn.Linear(WIDTH, VOCAB)

    def attended(self, x: Tensor, mask: Tensor | None) -> Tensor:
        seen = causal(x)
        return seen if mask is None else seen & (mask.bool() == self.real)[:, None, :]

    def mixed(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        x = self.embedding(tokens)
        scores = (x @ x.mT / 4).masked_fill(~self.attended(x, mask), -1e9)
        return self.head(x + scores.softmax(-1) @ x)

    def forward(self, tokens: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        return self.mixed(tokens, attention_mask)


class TrueIsPadding(Padded):
    real = False

    def forward(self, tokens: Tensor, key_padding_mask: Tensor | None = None) -> Tensor:
        return self.mixed(tokens, key_padding_mask)


class PaddingMask(TrueIsPadding):
    def forward(self, tokens: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        return self.mixed(tokens, padding_mask)


class Mask(Padded):
    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.mixed(tokens, mask)


class Garbage(Padded):
    """Outputs at padding depend on everything."""

    def mixed(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        y = super().mixed(tokens, mask)
        return y if mask is None else torch.where(mask.bool()[..., None], y, y.sum(1, keepdim=True))


class NoNumbers(Padded):
    def mixed(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        y = super().mixed(tokens, mask)
        return y if mask is None else y.masked_fill(~mask.bool()[..., None], float("nan"))


class Torch(nn.Module):
    """A layer of torch, which gives nothing but NaN where padding comes first."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.head = nn.Embedding(VOCAB, WIDTH), nn.Linear(WIDTH, VOCAB)
        self.layer = nn.TransformerEncoder(nn.TransformerEncoderLayer(WIDTH, 2, 32, batch_first=True), 2)

    def forward(self, tokens: Tensor, src_key_padding_mask: Tensor | None = None) -> Tensor:
        x = self.embedding(tokens)
        return self.head(self.layer(x, mask=~causal(x), src_key_padding_mask=src_key_padding_mask))


class Matrix(Padded):
    """A mask of who attends to whom, which is causal unless another one is given."""

    def attended(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return causal(x) if mask is None else mask.bool()


class Unused(Padded):
    def mixed(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        return super().mixed(tokens, None)


class OfOutputs(Padded):
    """A recurrent model for padding at the right: the mask clears outputs and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRU(WIDTH, WIDTH, batch_first=True)

    def mixed(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        y = self.head(self.cell(self.embedding(tokens))[0])
        return y if mask is None else y * mask[..., None]


class Flags(Padded):
    """The mask is a second kind of token, and hides nothing."""

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        x = self.embedding(tokens)
        x = x if mask is None else x + 0.5 * mask[..., None]
        return self.head(x.cumsum(1))


class Prefix(Mask):
    """The mask says which tokens are read in both directions; without one, none are."""

    def attended(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return causal(x) if mask is None else causal(x) | (mask.bool()[:, None, :] & mask.bool()[:, :, None])


class Counted(Padded):
    """Positions are counted among the real tokens."""

    def mixed(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        mask = torch.ones_like(tokens) if mask is None else mask
        return super().mixed(tokens, mask) * (mask.cumsum(1)[..., None] + 1).log()


RIGHT = [Padded, TrueIsPadding, PaddingMask, Mask, Garbage, NoNumbers, Torch, OfOutputs, Counted]
NOT_UNDERSTOOD = [Matrix, Unused]
MAY_MEAN_ANYTHING = [Flags, Prefix]


def result_of(model: nn.Module, **options: object) -> AuditResult:
    return audit(model, **{"vocab_size": VOCAB, "seq_len": LENGTH, "probes": ["padding"], **options})


@pytest.mark.parametrize("kind", RIGHT)
def test_a_right_model_passes_whatever_it_does_at_padding(kind: type[nn.Module]) -> None:
    result = result_of(kind())
    assert result.verdict is Verdict.PASS, result.probes[0].why
    assert "causal with no padding; causal with 10 padded at the right" in result.probes[0].why


@pytest.mark.parametrize("kind", NOT_UNDERSTOOD)
def test_a_mask_of_another_meaning_is_not_judged(kind: type[nn.Module]) -> None:
    (probe,) = result_of(kind()).probes
    assert not probe.applicable, probe.why


@pytest.mark.parametrize("kind", MAY_MEAN_ANYTHING)
def test_a_plain_mask_that_hides_nothing_promises_nothing(kind: type[nn.Module]) -> None:
    assert result_of(kind()).verdict is Verdict.PASS


def test_what_could_not_be_compared_is_named() -> None:
    assert "skipped with 10 padded at the left: the outputs are not finite" in result_of(Torch()).probes[0].why
    assert "it hides no padding at the left from what follows" in result_of(OfOutputs()).probes[0].why


@pytest.mark.parametrize("kind", [Padded, TrueIsPadding, PaddingMask, Mask])
@pytest.mark.parametrize("coarse", ["float32", "bfloat16"])
def test_other_dtypes_raise_no_false_alarm(kind: type[nn.Module], coarse: str) -> None:
    assert result_of(kind(), dtype=coarse).verdict is not Verdict.LEAK


class Replaced(Padded):
    """The padding mask takes the place of the causal one."""

    def attended(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return causal(x) if mask is None else (mask.bool() == self.real)[:, None, :].expand(-1, x.shape[1], -1)


class ReplacedTrueIsPadding(Replaced, PaddingMask):
    real = False


class ReplacedMask(Replaced, Mask):
    pass


class Forgotten(Padded):
    """Any mask switches the causal one off, and is not looked at."""

    def attended(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return causal(x) if mask is None else torch.ones_like(causal(x))


class ForgottenMask(Forgotten, PaddingMask):
    pass


class ReplacedRequired(Replaced):
    def forward(self, tokens: Tensor, attention_mask: Tensor) -> Tensor:
        return self.mixed(tokens, None if bool(attention_mask.all()) else attention_mask)


@pytest.mark.parametrize(
    "kind", [Replaced, ReplacedTrueIsPadding, ReplacedMask, Forgotten, ForgottenMask, ReplacedRequired]
)
def test_a_mask_that_ends_causality_is_a_dense_leak(kind: type[nn.Module]) -> None:
    result = result_of(kind())
    assert {finding.leak_class for finding in result.findings} == {LeakClass.DENSE}
    assert all(finding.line for finding in result.findings)


class Convolved(Padded):
    """Attention hides padding, the convolution before it does not."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv1d(WIDTH, WIDTH, 3)

    def mixed(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        x = self.embedding(tokens)
        x = self.mix(F.pad(x.mT, (2, 0))).mT
        scores = (x @ x.mT / 4).masked_fill(~self.attended(x, mask), -1e9)
        return self.head(scores.softmax(-1) @ x)


def test_what_stands_in_padding_is_named_as_the_source() -> None:
    result = result_of(Convolved())
    (finding,) = result.findings
    assert (finding.leak_class, finding.source.position, finding.sink.position) == (LeakClass.DOCUMENT, 9, 10)
    assert "it is padding" in result.probes[0].why


@pytest.mark.parametrize("leak", [leak for leak in all_leaks() if leak.padded], ids=lambda leak: leak.name)
def test_a_planted_leak_shows_under_a_mask_only_and_its_control_passes(leak) -> None:
    options = {"vocab_size": leak.vocab_size, "seq_len": leak.seq_len, "probes": None, "preset": "quick"}
    leaky = result_of(leak.leaky(), **options)
    assert {(finding.probe, finding.leak_class) for finding in leaky.findings} == {("padding", leak.leak_class)}
    assert result_of(leak.clean(), **options).verdict is Verdict.PASS
