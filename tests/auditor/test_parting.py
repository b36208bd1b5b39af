"""The places of what no pair of inputs shows: length, other rows, earlier calls, streaming, packed documents."""

from __future__ import annotations

import linecache
from collections.abc import Callable

import pytest
import torch
from torch import nn

from audits import audit
from audits.leaks import all_leaks
from audits.results import LeakClass, Verdict

LEAKS = {leak.name: leak for leak in all_leaks()}
LINES = {
    "batch_mean_centring": ("mean", "return x.mean(0, keepdim=True)"),
    "packed_row_convolution": ("convolution", "self.convolution(streams)"),
    "dynamic_rotary_base": ("pow", "base**-exponent"),
    "hub_length_dependent_k": ("lt", "< slots"),
    "length_temperature": ("add", "(self.count(queries) + 1).log()"),
    "shifted_cache_position": ("arange", "torch.arange(start,"),
    "unmasked_prefill": ("masked_fill", "masked_fill(hidden, -math.inf)"),
    "running_average_buffer": ("sub", "x - self.centre"),
    "late_state": ("mul", "x * self.scale"),
    "input_scaled_in_place": ("div", "x.div_("),
    "document_positions": ("arange", "torch.arange("),
}


@pytest.mark.parametrize("name", LINES)
def test_the_operation_where_two_calls_part_is_named_with_its_line(name):
    leak, (op, text) = LEAKS[name], LINES[name]
    kind = {"vocab_size": leak.vocab_size} if leak.vocab_size else {"input": "features", "width": leak.width}
    (finding,) = audit(leak.leaky(), **kind, seq_len=leak.seq_len).findings
    assert (finding.leak_class, finding.op) == (leak.leak_class, op)
    assert text in linecache.getline(finding.file, finding.line)
    assert finding.module is not None
    assert finding.trace[-1].op == "output" if finding.trace else name == "input_scaled_in_place"


def test_a_leak_in_later_rows_alone_is_followed_there():
    leak = LEAKS["later_rows"]
    found = audit(leak.leaky(), vocab_size=leak.vocab_size, seq_len=leak.seq_len).findings
    ahead = next(finding for finding in found if finding.leak_class is LeakClass.DENSE)
    assert "future(n, device).triu(2 if row else 1)" in linecache.getline(ahead.file, ahead.line)


class Chunked(nn.Module):
    """Means of blocks of 8, padded, added to the blocks after them; `divisor` is all that may depend on the length."""

    def __init__(self, divisor: Callable[[int], float]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.divisor, self.embed, self.head = divisor, nn.Embedding(20, 8), nn.Linear(8, 20)

    def forward(self, tokens):
        x = self.embed(tokens)
        blocks = nn.functional.pad(x, (0, 0, 0, -x.shape[1] % 8)).unflatten(1, (-1, 8))
        before = nn.functional.pad(blocks.mean(2), (0, 0, 1, -1)).cumsum(1)
        scaled = before / self.divisor(x.shape[1])
        return self.head((blocks + scaled[:, :, None]).flatten(1, 2)[:, : x.shape[1]])


def test_a_number_made_of_the_length_is_found_behind_padded_blocks():
    assert audit(Chunked(lambda n: 3.0), vocab_size=20, seq_len=44).verdict is Verdict.PASS
    (finding,) = audit(Chunked(float), vocab_size=20, seq_len=44).findings
    assert (finding.leak_class, finding.op) == (LeakClass.LENGTH, "div")
    assert "scaled = before / self.divisor" in linecache.getline(finding.file, finding.line)
