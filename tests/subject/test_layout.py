"""The axis of positions: small tables, checked by hand."""

from __future__ import annotations

from typing import Any

import pytest

from audits import Contract, SubjectError
from audits.subject.layout import Clocks, layout

PAST = {"x": "past"}
# Contract, roles, slots, outputs: positions of the outputs, positions of the slots, number of positions.
TABLES: dict[str, tuple[Contract, dict[str, str], int, int, list[int], dict[str, list[int]], int]] = {
    "default": (Contract(), PAST, 4, 4, [0, 1, 2, 3], {"x": [0, 1, 2, 3]}, 4),
    "lookahead": (Contract(lookahead=2), PAST, 5, 5, [0, 1, 2, 3, 4], {"x": [0, 0, 0, 1, 2]}, 5),
    "strict": (Contract(strict=True), PAST, 3, 3, [0, 1, 2], {"x": [1, 2, 3]}, 4),
    "prefix": (Contract(prefix=2), PAST, 4, 4, [0, 1, 2, 3], {"x": [0, 0, 2, 3]}, 4),
    "hop": (Contract(hop=2), PAST, 6, 3, [0, 1, 2], {"x": [0, 0, 1, 1, 2, 2]}, 3),
    "hop of samples": (Contract(hop=2), PAST, 4, 4, [0, 0, 1, 1], {"x": [0, 0, 1, 1]}, 2),
    "before": (Contract(), {"a": "before", **PAST}, 3, 3, [0, 1, 2], {"a": [1, 2, 3], "x": [0, 1, 2]}, 4),
    "backwards": (Contract(due=lambda slots: 3 - slots), PAST, 4, 4, [3, 2, 1, 0], {"x": [0, 1, 2, 3]}, 4),
}


@pytest.mark.parametrize("name", TABLES)
def test_slots_and_outputs_stand_where_their_times_say(name: str) -> None:
    contract, roles, slots, outputs, due, available, length = TABLES[name]
    clocks = Clocks(contract, roles, slots, outputs)
    found_due, found_available, found_length = clocks.positions(slots)
    assert found_due.tolist() == due
    assert {name: each.tolist() for name, each in found_available.items()} == available
    assert (found_length, clocks.length) == (length, length)


@pytest.mark.parametrize(
    ("contract", "slots", "outputs", "capacity", "together", "index"),
    [
        (Contract(), 4, 4, 1, 1, [0, 1, 2, 3]),
        (Contract(lookahead=2), 5, 5, 1, 1, [-1, -1, 0, 1, 2]),  # what the first output may see anyway stays fixed
        (Contract(hop=2), 6, 3, 2, 1, [0, 1, 2, 3, 4, 5]),
        (Contract(hop=2), 4, 4, 2, 2, [0, 1, 2, 3]),
        (Contract(prefix=3), 5, 5, 1, 1, [-1, -1, 0, 3, 4]),
    ],
)
def test_a_position_holds_as_many_slots_as_become_available_at_once(
    contract: Contract, slots: int, outputs: int, capacity: int, together: int, index: list[int]
) -> None:
    clocks = Clocks(contract, PAST, slots, outputs)
    assert (clocks.capacity, clocks.due_together) == (capacity, together)
    assert layout(clocks, clocks.length).index["x"].tolist() == index


@pytest.mark.parametrize(
    ("contract", "length", "slots", "outputs"),
    [
        (Contract(), 2, 2, [0, 1]),
        (Contract(), 9, 9, [0, 1, 2, 3, 4, 5, 6, 7, 8]),
        (Contract(hop=3), 1, 3, [0]),
        (Contract(hop=3), 4, 12, [0, 1, 2, 3]),
        (Contract(lookahead=2), 2, 4, [0, 1, -1, -1]),
    ],
)
def test_fewer_or_more_positions_have_as_many_slots_as_they_need(
    contract: Contract, length: int, slots: int, outputs: list[int]
) -> None:
    found = layout(Clocks(contract, PAST, 6, 6 // contract.hop), length)
    assert found.slots == slots
    assert found.outputs.tolist() == outputs


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"available": {"x": lambda slots: 0 * slots}}, "every input is available before the first output is due"),
        ({"available": {"x": lambda slots: slots + 99}}, "no input is available before the last output is due"),
    ],
)
def test_clocks_under_which_nothing_can_be_judged_are_refused(said: Any, message: str) -> None:
    with pytest.raises(SubjectError, match=message):
        Clocks(Contract(**said), PAST, 6, 6).check()
