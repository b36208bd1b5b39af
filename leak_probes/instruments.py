"""Fast direct instruments: each looks at one drawn case in one way and raises AssertionError where the future is felt.

Where both sides run on equal shapes, rounding is equal too and the limit is 0. Where shapes differ (a prefix, a piece
of a stream), the limit is a number of roundings of the dtype, relative to the largest output.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from cases import DTYPES, VOCAB, Case
from torch import Tensor, nn

from audits.auditor.audit import audit, explain
from audits.results import Verdict

Instrument = Callable[..., None]
MAGNITUDES = (1e-3, 1.0, 1e3)  # of suffixes in feature space: from smooth paths to any ranking upset
# Roundings allowed between different shapes; few for bfloat16, whose errors must stay below the outputs (our choice).
ROUNDINGS = {"float64": 2**10, "float32": 2**10, "bfloat16": 2**5}
PIECES = (1, 3, 2, 5)  # sizes of the pieces of a stream, over and over


@torch.no_grad()
def suffix_swap(case: Case, model: nn.Module | None = None) -> None:
    """Everything from each cut on replaced by extreme suffixes: nothing before the cut may move."""
    model = model or case.build()
    base, cuts = case.inputs(rows=1), torch.arange(1, case.length)
    fresh = case.inputs(rows=len(cuts), draw=1)
    # Rows run in the slots of an equally shaped batch, so that rounding is equal too.
    before = model(base.expand(len(cuts), *base.shape[1:]).contiguous())
    keep = (torch.arange(case.length) < cuts[:, None]).reshape(len(cuts), case.length, *[1] * (base.ndim - 2))
    for name, suffix in _suffixes(case, base, fresh, cuts).items():
        after = model(torch.where(keep, base, suffix))
        moved = _gap(after, before).where(torch.arange(case.length) < cuts[:, None], 0.0)
        row, sink = divmod(int(moved.argmax()), case.length)
        what = f"position {sink} moved when everything from position {int(cuts[row])} on became {name}"
        _limit(case, "suffix_swap", what, float(moved.max()), 0.0)


def _suffixes(case: Case, base: Tensor, fresh: Tensor, cuts: Tensor) -> dict[str, Tensor]:
    """What follows the cut, [cuts, N, ...]: other inputs, and the last token before the cut again and again."""
    last = base[0, cuts - 1, None].expand_as(fresh)
    if case.pattern:
        return {"other tokens": fresh, "the last token again": last, "the next tokens by number": (base + 1) % VOCAB}
    kinds = {f"fresh features times {size:g}": fresh * size for size in MAGNITUDES}
    return kinds | {"the last token times 1000": last * 1e3, "the last token times -1000": last * -1e3}


@torch.no_grad()
def prefix_length(case: Case, model: nn.Module | None = None) -> None:
    """The outputs of every prefix must not depend on what follows it."""
    case = _without_close_calls(case)
    model, x = model or case.build(), case.inputs()
    whole = model(x)
    for length in range(1, case.length):
        gap = _gap(model(x[:, :length]), whole[:, :length])
        what = f"cutting the sequence at {length} moved position {int(gap.amax(0).argmax())}"
        _limit(case, "prefix_length", what, float(gap.max()), _rounding(case, whole))


@torch.no_grad()
def stream_in_pieces(case: Case, model: nn.Module | None = None) -> None:
    """A stream in pieces, and token by token, must equal one pass."""
    case = _without_close_calls(case)
    model, x = model or case.build(), case.inputs()
    whole = model(x)
    for sizes in (PIECES, (1,)):
        state, done = None, 0
        for index in range(case.length):
            piece = x[:, done : done + sizes[index % len(sizes)]]
            if not piece.shape[1]:
                break
            output, state = cast("Any", model).stream(piece, state)
            gap = _gap(output, whole[:, done : done + piece.shape[1]])
            what = f"the piece of {piece.shape[1]} at position {done} differs from one pass"
            _limit(case, "stream_in_pieces", what, float(gap.max()), _rounding(case, whole))
            done += piece.shape[1]


@torch.no_grad()
def other_rows(case: Case, model: nn.Module | None = None) -> None:
    """A row must not feel the other rows of its batch."""
    model, x = model or case.build(), case.inputs(rows=3)
    changed = torch.cat([x[:1], case.inputs(rows=2, draw=1) * (1 if case.pattern else 1000)])
    gap = _gap(model(changed)[:1], model(x)[:1])
    _limit(case, "other_rows", "row 0 moved when rows 1 and 2 were replaced", float(gap.max()), 0.0)


@torch.no_grad()
def repeat_call(case: Case, model: nn.Module | None = None) -> None:
    """A call must leave nothing behind for the next."""
    model, x = model or case.build(), case.inputs()
    before = model(x)
    model(case.inputs(draw=1))
    model(replace(case, length=2 * case.length).inputs(draw=2))
    _limit(case, "repeat_call", "the same input differs after other calls", float(_gap(model(x), before).max()), 0.0)


def gradient(case: Case, model: nn.Module | None = None) -> None:
    """No output may have a derivative with respect to a later input; features only."""
    model, x = model or case.build(), case.inputs(rows=1)
    rows = x.expand(case.length, -1, -1).clone().requires_grad_()
    sinks = torch.arange(case.length)
    (found,) = torch.autograd.grad(model(rows)[sinks, sinks].sum(), rows)
    future = found.double().abs().amax(-1).triu(1)
    sink, source = divmod(int(future.argmax()), case.length)
    what = f"output {sink} has a derivative with respect to input {source}"
    _limit(case, "gradient", what, float(future.max()), 0.0)


def audited(case: Case, model: nn.Module | None = None, probes: Sequence[str] | None = None, batch: int = 16) -> None:
    """The auditor, in float64: where selections compare rounded numbers, decoding may rightly differ."""
    case = replace(case, dtype="float64")
    kind = {"vocab_size": VOCAB} if case.pattern else {"input": "features", "width": case.width}
    result = audit(model or case.build(), **kind, seq_len=case.length, batch=batch, seed=case.seed, probes=probes)
    assert result.verdict is Verdict.PASS, f"{explain(result)}\n{_origin(case, 'audited')}"


def _without_close_calls(case: Case) -> Case:
    """In low precision, k for every token: else which tokens are read may hang on how a score was rounded."""
    return case if case.dtype == "float64" else replace(case, k=case.length)


def _gap(a: Tensor, b: Tensor) -> Tensor:
    """Largest difference at each position, [rows, N]; infinite where one side is not a number."""
    return (a.double() - b.double()).abs().amax(-1).nan_to_num(nan=float("inf"))


def _rounding(case: Case, outputs: Tensor) -> float:
    return ROUNDINGS[case.dtype] * torch.finfo(DTYPES[case.dtype]).eps * max(1.0, float(outputs.abs().max()))


def _limit(case: Case, name: str, what: str, effect: float, limit: float) -> None:
    assert effect <= limit, f"{what}: by {effect:.3g}, limit {limit:.3g}\n{_origin(case, name)}"


def _origin(case: Case, name: str) -> str:
    call = f"from cases import Case; from instruments import {name}; {name}({case!r})".replace("'", '"')
    return f"  reproduce: PYTHONPATH=.:leak_probes python -c '{call}'"
