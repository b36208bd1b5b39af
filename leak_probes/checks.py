"""Fast direct checks of one drawn case: each raises LeakError where an output depends on a later input.

Where both sides run on equal shapes, rounding is equal too and the limit is 0. Where shapes differ (a prefix, a piece
of a stream), the limit is a number of roundings of the dtype, relative to the largest output.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any, cast

import torch
from cases import DTYPES, SHORT, VOCAB, Case
from torch import Tensor, nn

from audits.auditor.audit import audit, explain
from audits.results import AuditResult, Verdict

Check = Callable[..., None]
MAGNITUDES = (1e-3, 1.0, 1e3)  # of suffixes in feature space: small for smooth paths, large to change rankings
# Roundings allowed between different shapes; few for bfloat16, whose errors must stay below the outputs (our choice).
ROUNDINGS = {"float64": 2**10, "float32": 2**10, "bfloat16": 2**5}
PIECES = (1, 3, 2, 5)  # sizes of the pieces of a short stream, repeated; a longer one comes in pieces of SHORT tokens
STATE = "a state leak: the same input gives another output in a later call"
# The auditor's probe that compares what a check compares; provenance and perturbation find most places.
PROBE_OF = {
    "suffix_swap": "perturbation",
    "gradient": "gradient",
    "padding": "perturbation",
    "stream_in_pieces": "decode",
    "prefix_length": "prefix-length",
    "other_rows": "isolation",
    "repeat_call": "repeat-call",
    STATE: "repeat-call",
}


class LeakError(AssertionError):
    """A check that failed: what it saw, and on which case and model."""

    def __init__(self, what: str, check: str, case: Case, model: nn.Module) -> None:
        call = f"from cases import Case; from checks import {check}; {check}({case!r})".replace("'", '"')
        super().__init__(f"{what}\n  reproduce: PYTHONPATH=.:leak_probes python -c '{call}'")
        self.check = STATE if what.startswith(STATE) else check
        self.case, self.model = case, model

    def place(self) -> str:
        """Where in the source it enters, as the auditor sees it; empty where it sees nothing or is the check."""
        if self.check not in PROBE_OF:
            return ""
        result = _audit(self.case, self.model, ["provenance", PROBE_OF[self.check]])
        return explain(result) if result.findings else ""


@torch.no_grad()
def suffix_swap(case: Case, model: nn.Module | None = None) -> None:
    """Everything from each cut on replaced by extreme suffixes: no output before the cut may change."""
    model = model or case.build()
    base, cuts = case.inputs(rows=1), case.cuts()
    fresh = case.inputs(rows=len(cuts), draw=1)
    # Rows run in the slots of an equally shaped batch, so that rounding is equal too.
    rows = base.expand(len(cuts), *base.shape[1:]).contiguous()
    before = model(rows)
    keep = (torch.arange(case.length) < cuts[:, None]).reshape(len(cuts), case.length, *[1] * (base.ndim - 2))
    for name, suffix in _suffixes(case, base, fresh, cuts).items():
        after = model(torch.where(keep, base, suffix))
        change = _max_abs_diff(after, before).where(torch.arange(case.length) < cuts[:, None], 0.0)
        row, sink = divmod(int(change.argmax()), case.length)
        what = f"position {sink} changed when everything from position {int(cuts[row])} on became {name}"
        if change.max() > 0 and not torch.equal(model(rows), before):
            what = STATE
        _limit(case, model, "suffix_swap", what, float(change.max()), 0.0)


def _suffixes(case: Case, base: Tensor, fresh: Tensor, cuts: Tensor) -> dict[str, Tensor]:
    """What follows the cut, [cuts, N, ...]: other inputs, and the last token before the cut repeated."""
    last = base[0, cuts - 1, None].expand_as(fresh)
    if case.pattern:
        return {"other tokens": fresh, "the last token repeated": last, "the next token ids": (base + 1) % VOCAB}
    kinds = {f"fresh features times {size:g}": fresh * size for size in MAGNITUDES}
    return kinds | {"the last token times 1000": last * 1e3, "the last token times -1000": last * -1e3}


@torch.no_grad()
def prefix_length(case: Case, model: nn.Module | None = None) -> None:
    """The outputs of every prefix must not depend on what follows it."""
    case = _without_near_ties(case)
    model, x = model or case.build(), case.inputs()
    whole = model(x)
    for length in case.cuts().tolist():
        diff = _max_abs_diff(model(x[:, :length]), whole[:, :length])
        what = f"cutting the sequence at {length} changed position {int(diff.amax(0).argmax())}"
        _limit(case, model, "prefix_length", what, float(diff.max()), _rounding(case, whole))


@torch.no_grad()
def stream_in_pieces(case: Case, model: nn.Module | None = None) -> None:
    """A stream in pieces, and token by token, must equal one pass."""
    case = _without_near_ties(case)
    model, x = model or case.build(), case.inputs()
    whole = model(x)
    for sizes in (PIECES, (1,)) if case.length <= SHORT else ((SHORT,),):
        state, done = None, 0
        for index in range(case.length):
            piece = x[:, done : done + sizes[index % len(sizes)]]
            if not piece.shape[1]:
                break
            output, state = cast("Any", model).stream(piece, state)
            diff = _max_abs_diff(output, whole[:, done : done + piece.shape[1]])
            what = f"the piece of {piece.shape[1]} at position {done} differs from one pass"
            _limit(case, model, "stream_in_pieces", what, float(diff.max()), _rounding(case, whole))
            done += piece.shape[1]


@torch.no_grad()
def padding(case: Case, model: nn.Module | None = None) -> None:
    """With padding at an end or in between: what it holds is not read, no suffix is, and no mask is remembered."""
    model, x = model or case.build(), case.inputs(rows=1)
    where, valid = case.valid()
    masked, unused = Masked(model, valid), deepcopy(model)
    before = masked(x)
    after = masked(torch.where(valid[..., None], x, case.inputs(rows=1, draw=1) * 1000))
    what = f"an output changed with what padding {where} holds"
    _limit(case, masked, "padding", what, float(_max_abs_diff(after, before).max()), 0.0)
    unused(x)
    what = f"{STATE}, here with padding {where} after one without"
    _limit(case, masked, "padding", what, float(_max_abs_diff(unused(x, valid), before).max()), 0.0)
    suffix_swap(case, masked)


class Masked(nn.Module):
    """A layer under one mask [1, N] for all rows."""

    def __init__(self, layer: nn.Module, valid: Tensor) -> None:
        super().__init__()
        self.layer, self.valid = layer, valid

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, D] to [B, N, D]."""
        output: Tensor = self.layer(x, self.valid.expand(len(x), -1))
        return output


@torch.no_grad()
def other_rows(case: Case, model: nn.Module | None = None) -> None:
    """A row must not depend on the other rows of its batch."""
    model, x = model or case.build(), case.inputs(rows=3)
    changed = torch.cat([x[:1], case.inputs(rows=2, draw=1) * (1 if case.pattern else 1000)])
    diff = _max_abs_diff(model(changed)[:1], model(x)[:1])
    _limit(case, model, "other_rows", "row 0 changed when rows 1 and 2 were replaced", float(diff.max()), 0.0)


@torch.no_grad()
def repeat_call(case: Case, model: nn.Module | None = None) -> None:
    """A call must not depend on earlier calls."""
    model, x = model or case.build(), case.inputs()
    before = model(x)
    model(case.inputs(draw=1))
    model(replace(case, length=2 * case.length).inputs(draw=2))
    _limit(case, model, "repeat_call", STATE, float(_max_abs_diff(model(x), before).max()), 0.0)


def gradient(case: Case, model: nn.Module | None = None) -> None:
    """No output may have a derivative with respect to a later input; features only."""
    model, x = model or case.build(), case.inputs(rows=1)
    sinks = case.cuts() - 1
    rows = x.expand(len(sinks), -1, -1).clone().requires_grad_()
    (found,) = torch.autograd.grad(model(rows)[torch.arange(len(sinks)), sinks].sum(), rows)
    future = found.double().abs().amax(-1).where(torch.arange(case.length) > sinks[:, None], 0.0)
    row, source = divmod(int(future.argmax()), case.length)
    what = f"output {int(sinks[row])} has a derivative with respect to input {source}"
    _limit(case, model, "gradient", what, float(future.max()), 0.0)


def audited(case: Case, model: nn.Module | None = None, probes: Sequence[str] | None = None, batch: int = 16) -> None:
    """The auditor, in float64: where rounding decides a selection, decoding may legitimately differ."""
    case = replace(case, dtype="float64")
    model = model or case.build()
    result = _audit(case, model, probes, batch)
    if result.verdict is not Verdict.PASS:
        raise LeakError(explain(result), "audited", case, model)


def _audit(case: Case, model: nn.Module, probes: Sequence[str] | None, batch: int = 16) -> AuditResult:
    kind = {"vocab_size": VOCAB} if case.pattern else {"input": "features", "width": case.width}
    settings = {"seq_len": case.length, "batch": batch, "seed": case.seed, "dtype": case.dtype}
    return audit(model, **kind, **settings, probes=probes)


def _without_near_ties(case: Case) -> Case:
    """Below float64, with k for all tokens: else the rounding of a score could decide which tokens are read."""
    return case if case.dtype == "float64" else replace(case, k=case.length)


def _max_abs_diff(a: Tensor, b: Tensor) -> Tensor:
    """Largest difference at each position, [rows, N]; infinite where one side is not a number."""
    return (a.double() - b.double()).abs().amax(-1).nan_to_num(nan=float("inf"))


def _rounding(case: Case, outputs: Tensor) -> float:
    return ROUNDINGS[case.dtype] * torch.finfo(DTYPES[case.dtype]).eps * max(1.0, float(outputs.abs().max()))


def _limit(case: Case, model: nn.Module, check: str, what: str, effect: float, limit: float) -> None:
    if not effect <= limit:
        raise LeakError(f"{what}: by {effect:.3g}, limit {limit:.3g}", check, case, model)
