"""Contracts as they are written: roles, shorthands, options of the command line, and what cannot hold."""

from __future__ import annotations

import pytest
import torch

from audits import Contract, SubjectError
from audits.subject.contract import Role, Stream
from audits.subject.options import contract_of

SLOTS = torch.arange(6)


@pytest.mark.parametrize(
    ("text", "role"),
    [
        ("past", Role("past")),
        ("before:features:4", Role("before", "features", (4,))),
        ("past:features:3x8", Role("past", "features", (3, 8))),
        ("free:features:=80x3000", Role("free", "features", (80, 3000), whole=True)),
        ("past:tokens:1000", Role("past", "tokens", (1000,))),
        ("held:positions", Role("held", "positions")),
        ("past:flags", Role("past", "flags")),
        ("past:times", Role("past", "times")),
        ("padding", Role("padding")),
    ],
)
def test_a_role_is_read_and_written_alike(text: str, role: Role) -> None:
    assert Role.parse("x", text) == role
    assert str(role) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("future", "role of x: 'future' is not one of past, before, free, held, padding"),
        ("past:words", "role of x: kind 'words' is not one of tokens, features, flags, positions, times"),
        ("past:features:4y", "role of x: size '4y' must be like 4, 3x8 or =3x8"),
        ("past:features:0", "role of x: size '0' must be like 4, 3x8 or =3x8"),
        ("past:features:=4", "role of x: what is past has slots, so that its size cannot be its whole shape"),
    ],
)
def test_what_is_no_role_is_named(text: str, message: str) -> None:
    with pytest.raises(SubjectError) as raised:
        Contract(inputs={"x": text})
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"lookahead": -1}, "lookahead must be a whole number of at least 0, not -1"),
        ({"prefix": 1.5}, "prefix must be a whole number of at least 0, not 1.5"),
        ({"hop": 0}, "hop must be a whole number of at least 1, not 0"),
        ({"strict": True, "lookahead": 2}, "strict excludes the present, lookahead=2 allows the future: give one"),
        ({"due": abs, "hop": 2}, "due says when outputs are due: give it without lookahead, strict and hop"),
    ],
)
def test_what_cannot_hold_is_refused_in_one_line(said: dict[str, object], message: str) -> None:
    with pytest.raises(SubjectError) as raised:
        Contract(**said)  # type: ignore[arg-type]
    assert str(raised.value) == message


def test_the_shorthands_are_clocks():
    def due(contract: Contract, *, samples: bool = False) -> list[int]:
        return contract.times_due(SLOTS, samples).tolist()

    def available(contract: Contract, role: str = "past") -> list[int]:
        return contract.times_available("x", role, SLOTS).tolist()

    assert due(Contract()) == available(Contract()) == [0, 1, 2, 3, 4, 5]
    assert due(Contract(lookahead=2)) == [2, 3, 4, 5, 6, 7]
    assert due(Contract(strict=True)) == [-1, 0, 1, 2, 3, 4]
    assert due(Contract(hop=3)) == [2, 5, 8, 11, 14, 17]
    assert due(Contract(hop=3), samples=True) == [2, 2, 2, 5, 5, 5]
    assert due(Contract(due=lambda slots: 2 * slots)) == [0, 2, 4, 6, 8, 10]
    assert available(Contract(), "before") == [1, 2, 3, 4, 5, 6]
    assert available(Contract(prefix=3)) == [0, 0, 0, 3, 4, 5]
    assert available(Contract(available={"x": lambda slots: slots // 2})) == [0, 0, 1, 1, 2, 2]
    assert available(Contract(available={"y": lambda slots: slots // 2})) == [0, 1, 2, 3, 4, 5]


def test_a_clock_of_the_wrong_length_is_named():
    with pytest.raises(SubjectError, match=r"^the clock due gave \[3\] times for 6 slots$"):
        Contract(due=lambda slots: slots[:3]).times_due(SLOTS, samples=False)
    with pytest.raises(SubjectError, match=r"^the clock available\['x'\] gave \[\] times for 6 slots$"):
        Contract(available={"x": lambda slots: 1}).times_available("x", "past", SLOTS)


def step(model, piece, state):
    return model(piece), state


def test_a_contract_is_shown_by_what_it_says_besides_the_default():
    contract = Contract(inputs={"a": "before:features:4"}, lookahead=1, output_axis=(2, 3), stream=Stream(step))
    assert Contract().is_default()
    assert not contract.is_default()
    assert repr(Contract(strict=True)) == "Contract(strict=True)"
    assert contract.described() == {
        "lookahead": 1,
        "inputs": {"a": "before:features:4"},
        "output_axis": (2, 3),
        "stream": "step",
    }
    assert contract.options() == ["--role a=before:features:4", "--lookahead 1", "--output-axis 2,3", "--stream step"]


def test_the_options_of_the_command_line_make_the_same_contract():
    given = {
        "lookahead": 2,
        "role": ["x=past:features:3", "mask=padding"],
        "input_axis": "2,3",
        "output_axis": "1",
        "output": "a.b",
        "cache": "c=d",
    }
    assert contract_of(given) == Contract(
        lookahead=2,
        inputs={"x": "past:features:3", "mask": "padding"},
        input_axis=(2, 3),
        output="a.b",
        cache="c=d",
    )
    assert contract_of({}) is None
    with pytest.raises(SubjectError, match="--role x says no role: give NAME=ROLE"):
        contract_of({"role": ["x"]})
    with pytest.raises(SubjectError, match="--input-axis 1,2,3: give an axis, or two of a raster as in 2,3"):
        contract_of({"input_axis": "1,2,3"})
