"""Rows of a batch: what moves in company only is a leak of its own row or of another one, never a pass."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from audits import audit
from audits.results import AuditResult, LeakClass, Verdict

VOCAB, WIDTH, LENGTH = 24, 8, 16


class Rows(nn.Module):
    """A running mean of embeddings, after which rows may be mixed."""

    def __init__(self, mix: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.head, self.mix = nn.Embedding(VOCAB, WIDTH), nn.Linear(WIDTH, VOCAB), mix

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        y = x.cumsum(1) / torch.arange(1, x.shape[1] + 1).to(x)[:, None]
        return self.head(self.mix(y, x))


def last_row_reads_the_first(y: Tensor, x: Tensor) -> Tensor:
    return torch.cat([y[:-1], y[-1:] + 0.1 * x[:1]]) if len(x) > 1 else y


def row_nine_reads_row_three(y: Tensor, x: Tensor) -> Tensor:
    mixed = y.clone()
    mixed[9:10] += 0.1 * x[3:4] if len(x) > 9 else 0.0
    return mixed


def crowd(y: Tensor, x: Tensor) -> Tensor:
    return y + 0.1 * x.mean(0, keepdim=True) if len(x) > 8 else y


def number_of_rows(y: Tensor, x: Tensor) -> Tensor:
    return y * (1 + 0.01 * len(x))


def number_of_the_row(y: Tensor, x: Tensor) -> Tensor:
    return y + 0.01 * torch.arange(len(x)).to(x)[:, None, None]


def future_in_later_rows(y: Tensor, x: Tensor) -> Tensor:
    return torch.cat([y[:1], y[1:] + 0.1 * x[1:].mean(1, keepdim=True)])


def audited(mix: Callable[[Tensor, Tensor], Tensor], *probes: str) -> AuditResult:
    return audit(Rows(mix), vocab_size=VOCAB, seq_len=LENGTH, probes=probes)


def test_rows_without_each_other_pass():
    assert audited(lambda y, _: y, "perturbation", "isolation").verdict is Verdict.PASS


@pytest.mark.parametrize(
    "mix", [last_row_reads_the_first, row_nine_reads_row_three, crowd, number_of_rows, number_of_the_row]
)
def test_every_row_is_compared_with_itself_and_after_changes_of_every_other(mix):
    result = audited(mix, "isolation")
    assert [finding.leak_class for finding in result.findings] == [LeakClass.BATCH]


@pytest.mark.parametrize(("mix", "sink"), [(last_row_reads_the_first, None), (row_nine_reads_row_three, 9)])
def test_the_row_that_is_read_is_named(mix, sink):
    finding = audited(mix, "isolation").findings[0]
    assert finding.sink.row == (sink if sink is not None else finding.sink.row)
    assert finding.source.row in (0, 3)
    assert finding.source.position is None


def test_movement_of_other_rows_is_a_leak_of_class_batch_under_perturbation_too():
    result = audited(crowd, "perturbation")
    assert [finding.leak_class for finding in result.findings] == [LeakClass.BATCH]
    assert result.findings[0].source.row != result.findings[0].sink.row


def test_a_leak_within_every_row_but_the_first_is_dense_and_has_its_position():
    result = audited(future_in_later_rows, "perturbation", "gradient")
    finding = result.findings[0]
    assert (finding.probe, finding.leak_class) == ("perturbation", LeakClass.DENSE)
    assert finding.source.row == finding.sink.row != 0
    assert finding.sink.position < finding.source.position
    assert [probe.verdict for probe in result.probes] == [Verdict.LEAK, Verdict.UNDETERMINED]


def test_prefixes_that_agree_alone_and_not_among_other_rows_do_not_pass():
    assert audited(future_in_later_rows, "prefix-length").verdict is Verdict.UNDETERMINED
