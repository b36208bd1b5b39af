"""Models under contracts: what they are fed, where their outputs stand, what is refused, and what it costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from audits import Contract, SubjectError, audit
from audits.results import Verdict
from audits.subject.arguments import Argument, candidates, tokens_of
from audits.subject.contract import Role
from audits.subject.fitting import fitted
from audits.subject.prepare import prepare
from audits.subject.settings import Settings

N = 12


class Two(nn.Module):
    """States and actions to actions and values; actions are delayed by one step."""

    def __init__(self) -> None:
        super().__init__()
        self.states, self.actions, self.head = nn.Linear(6, 8), nn.Linear(3, 8), nn.Linear(8, 3)
        self.calls: list[tuple[int, ...]] = []

    def forward(self, states: Tensor, actions: Tensor, scale: Tensor | None = None) -> dict[str, Any]:
        before = self.actions(actions).roll(1, 1) * torch.arange(actions.shape[1]).clamp(max=1)[:, None]
        hidden = (self.states(states) + before).cumsum(1).tanh()
        hidden = hidden if scale is None else hidden * scale
        return {"act": self.head(hidden), "more": {"values": (hidden.sum(-1), hidden.sum(1))}}


class Tokens(nn.Module):
    """Tokens to logits by a running sum; `calls` counts its forward passes, those of copies included."""

    calls = 0

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(20, 8), nn.Linear(8, 20)

    def forward(self, x: Tensor) -> Tensor:
        type(self).calls += 1
        y: Tensor = self.head(self.embedding(x).cumsum(1).tanh())
        return y


ROLES = {"states": "past", "actions": "before"}


def plan_of(model: Any, contract: Contract, **said: Any) -> Any:
    return fitted(model, Settings(seq_len=N, contract=contract, **said))[0].under_contract


# -- what is fed ---------------------------------------------------------------------------------------------------


def test_kinds_and_sizes_are_found_from_the_model_by_trying():
    plan = plan_of(Two(), Contract(inputs=ROLES, output="act"))
    assert [str(argument) for argument in plan.varied] == ["past:features:6", "before:features:3"]
    assert sum(plan.sizes) == 9
    assert not plan.others


@pytest.mark.parametrize(
    ("name", "role", "first"),
    [
        ("item_ids", "past", "past:tokens:20"),
        ("item_ids", "past:tokens:7", "past:tokens:7"),
        ("dones", "past", "past:flags"),
        ("position_ids", "held", "held:positions"),
        ("times", "past", "past:times"),
        ("head", "past", "past:features:8"),  # as a layer of that name takes
        ("frames", "free:features:=8x30", "free:features:8x30"),
    ],
)
def test_the_likeliest_kind_of_an_argument_comes_first(name: str, role: str, first: str) -> None:
    found = next(candidates(name, Role.parse(name, role), Tokens(), Settings()))
    assert str(found) == first


def test_an_argument_described_fully_has_one_candidate():
    assert len(list(candidates("x", Role.parse("x", "past:features:4"), Tokens(), Settings()))) == 1


class Series(nn.Module):
    """Values [B, N], without an axis of features; with `leaks`, less their mean."""

    def __init__(self, leaks: bool) -> None:
        super().__init__()
        self.leaks, self.head = leaks, nn.Linear(1, 4)

    def forward(self, series: Tensor) -> Tensor:
        rows, slots = series.shape
        series = series - series.mean(1, keepdim=True) if self.leaks else series
        return self.head(series.cumsum(1).view(rows, slots, 1)).tanh()


@pytest.mark.parametrize("leaks", [False, True])
@pytest.mark.parametrize(
    "told",
    [
        {"input": "features", "width": 1},
        {"input": "features", "width": 1, "contract": Contract(lookahead=1)},
        {"contract": Contract(inputs={"series": "past"})},
        {"contract": Contract(inputs={"series": "past:features:1"}, prefix=2)},
    ],
)
def test_features_of_one_number_are_fed_without_an_axis_of_their_own_where_only_that_is_taken(
    leaks: bool, told: dict[str, Any]
) -> None:
    result = audit(Series(leaks), seq_len=N, **told)
    assert result.verdict is (Verdict.LEAK if leaks else Verdict.PASS), result


def test_what_takes_features_of_one_number_neither_way_is_refused_for_the_first_reason():
    class Neither(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise ValueError(f"not {x.ndim} axes")

    with pytest.raises(SubjectError, match=r"on float \[1, 12, 1\] input: not 3 axes"):
        audit(Neither(), input="features", width=1, seq_len=N)


def test_values_have_the_kind_of_their_argument_and_change_with_the_numbers_they_are_made_of():
    normal = torch.randn(3, 5, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    features = Argument("x", "past", "features", ()).values(normal, torch.float32)
    assert (features.shape, features.dtype) == ((3, 5), torch.float32)
    times = Argument("x", "past", "times").values(normal, torch.float64)
    assert bool((times.diff(dim=1) > 0).all())
    flags = Argument("x", "past", "flags", (), torch.bool).values(normal, torch.float64)
    assert torch.equal(flags, normal[..., 0] > 0)
    tokens = Argument("x", "past", "tokens", (9,)).values(normal, torch.float64)
    assert (tokens.dtype, int(tokens.min()) >= 0, int(tokens.max()) < 9) == (torch.int64, True, True)
    positions = Argument("x", "past", "positions").values(normal[..., :0], torch.float64)
    assert positions.tolist() == [[0, 1, 2, 3, 4]] * 3


def test_tokens_of_standard_normal_numbers_are_about_equally_often_each():
    counts = torch.bincount(tokens_of(torch.randn(8000, generator=torch.Generator().manual_seed(0)), 8), minlength=8)
    assert bool(((counts > 850) & (counts < 1150)).all())


def test_what_a_slot_holds_does_not_depend_on_how_many_there_are():
    argument = Argument("x", "free", "features", (2,))
    long, short = (argument.fixed(slots, 0, torch.device("cpu")) for slots in (200, 7))
    assert torch.equal(long[:, :7], short)


# -- where outputs stand -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("output", "names"), [("act", ["logits"]), ("more.values.0", ["logits"]), (None, None)])
def test_an_output_is_found_by_its_path(output: str | None, names: list[str] | None) -> None:
    if names is None:
        with pytest.raises(SubjectError, match="returned a dict with act, more"):
            plan_of(Two(), Contract(inputs=ROLES))
        return
    subject = prepare(Two(), Settings(seq_len=N, contract=Contract(inputs=ROLES, output=output)))
    assert list(subject.model(subject.base())) == names
    assert subject.run(subject.base()).shape == (1, N + 1, 3 if output == "act" else 1)  # the last action comes after


def test_every_output_is_judged_where_none_is_named():
    class Both(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x.cumsum(1), x.flip(1).cumsum(1).flip(1)

    told = Contract(lookahead=1, inputs={"x": "past:features:2"})
    assert audit(Both(), seq_len=N, contract=told).findings[0].changed == 'output "1"'
    named = Contract(lookahead=1, inputs={"x": "past:features:2"}, output="0")
    assert audit(Both(), seq_len=N, contract=named).verdict is Verdict.PASS


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_time_may_lie_on_any_axis(axis: int) -> None:
    class Along(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            assert x.shape[axis] in range(N + 1)
            return x.cumsum(axis)

    contract = Contract(inputs={"x": "past:features:2x3"}, input_axis=axis, output_axis=axis)
    assert audit(Along(), seq_len=N, contract=contract, probes=["perturbation"]).verdict is Verdict.PASS
    assert audit(Along(), seq_len=N, contract=Contract(inputs={"x": "past:features:2x3"}, input_axis=axis,
                 output_axis=axis, strict=True), probes=["perturbation"]).verdict is Verdict.LEAK  # fmt: skip


def test_a_leak_behind_zero_weights_is_found_under_a_contract_too():
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate = nn.Parameter(torch.zeros(1))

        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.pad(x, (0, 0, 1, 0))[:, :-1].cumsum(1) + self.gate * x

    contract = Contract(inputs={"x": "before:features:2"})
    result = audit(Gated(), seq_len=N, contract=contract, probes=["perturbation"])
    assert result.verdict is Verdict.LEAK
    assert result.probes[0].why.startswith("all-zero weights (gate) hide a leak that training enables")


# -- what is refused -----------------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[Contract, str]] = {
    "unknown argument": (
        Contract(inputs={"states": "past", "action": "before"}),
        "the contract names 'action', but the target takes states, actions, scale",
    ),
    "missing role": (
        Contract(inputs={"states": "past"}, output="act"),
        "the target requires the argument 'actions': say what it is with --role actions=past|before|free|held, with "
        "its kind where that helps: actions=past:features:4",
    ),
    "clock too short": (
        Contract(inputs=ROLES, output="act", due=lambda slots: slots[1:]),
        f"the clock due gave [{N - 1}] times for {N} slots",
    ),
    "no such output": (
        Contract(inputs=ROLES, output="more.none"),
        "the output has no 'more.none': a dict has no 'none'; it has values",
    ),
    "nothing available": (
        Contract(inputs=ROLES, output="act", due=lambda slots: slots - 99),
        "no input is available before the last output is due: no output may depend on anything",
    ),
    "everything available": (
        Contract(inputs=ROLES, output="act", lookahead=99),
        "every input is available before the first output is due, so nothing could leak",
    ),
    "everything free": (
        Contract(inputs={"states": "free", "actions": "held"}, output="act"),
        "every input is free or held, so nothing could leak: give one the role past or before",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_contract_gets_one_clear_line(name: str) -> None:
    contract, message = REFUSED[name]
    with pytest.raises(SubjectError) as raised:
        audit(Two(), seq_len=N, contract=contract)
    assert str(raised.value) == message


def test_what_could_not_be_fed_is_named_with_the_option_that_would_feed_it():
    with pytest.raises(SubjectError) as raised:
        audit(Two(), seq_len=N, contract=Contract(inputs={**ROLES, "states": "past:features:5"}, output="act"))
    message = str(raised.value)
    assert message.startswith(f"the target could not be fed at length {N} with states=past:features:5")
    assert "--role actions=past|before|free|held" in message
    assert "\n" not in message


# -- what it costs -------------------------------------------------------------------------------------------------


def calls(contract: Contract | None) -> int:
    Tokens.calls = 0
    assert audit(Tokens(), seq_len=N, contract=contract).verdict is Verdict.PASS
    return Tokens.calls


def test_a_contract_adds_no_forward_passes_to_the_default():
    default = calls(None)
    assert calls(Contract()) == default
    trial = calls(Contract(inputs={"x": "past:tokens"})) - default
    assert 0 <= trial <= 2  # by which what it is fed is found


# -- any clocks ----------------------------------------------------------------------------------------------------

SHIFTS = st.lists(st.integers(-2, 3), min_size=1, max_size=4)


def clock(shifts: list[int]) -> Callable[[Tensor], Tensor]:
    """Slot j at j plus a shift that repeats."""
    return lambda slots: slots + torch.tensor(shifts)[slots % len(shifts)]


class Clocked(nn.Module):
    """Each output is a sum of what its clocks allow; the leaky one adds the first slot that they do not."""

    def __init__(self, available: Callable[[Tensor], Tensor], due: Callable[[Tensor], Tensor], *, leaky: bool) -> None:
        super().__init__()
        self.available, self.due, self.leaky = available, due, leaky

    def forward(self, x: Tensor) -> Tensor:
        slots = torch.arange(x.shape[1])
        available, due = self.available(slots), self.due(slots)
        seen = available[None] <= due[:, None]
        if self.leaky:
            later = available.where(~seen, available.max() + 1)
            first = later == later.amin(1, keepdim=True)
            seen = seen | first & ~seen
        return (seen.to(x.dtype) @ x.tanh()).sin()


@settings(max_examples=10, deadline=None)
@given(SHIFTS, SHIFTS)
def test_under_any_clocks_a_model_that_keeps_them_passes_and_the_first_forbidden_slot_is_a_leak(
    available: list[int], due: list[int]
) -> None:
    clocks = clock(available), clock(due)
    contract = Contract(inputs={"x": "past:features:2"}, available={"x": clocks[0]}, due=clocks[1])
    probes = ["perturbation", "gradient", "prefix-length", "provenance"]
    kept, broken = (
        audit(Clocked(*clocks, leaky=leaky), seq_len=N, contract=contract, probes=probes) for leaky in (False, True)
    )
    assert kept.verdict is Verdict.PASS, [(probe.name, probe.why) for probe in kept.probes]
    assert broken.verdict is Verdict.LEAK
    source, sink = broken.findings[0].source.position, broken.findings[0].sink.position
    assert source is not None
    assert sink is not None
    assert clocks[0](torch.tensor([source])) > clocks[1](torch.tensor([sink]))
