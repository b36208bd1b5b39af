"""Small texts beside the points of a figure, placed so that none hides a point or another text."""

from __future__ import annotations

from collections.abc import Sequence

from audits.report.render.svg import label

LETTER = 6.5  # user units that a letter of a tick takes
_RADIUS = 5.0  # of a marker
_SIDES = ((7.0, -6.0, "start"), (-7.0, -6.0, "end"), (7.0, 14.0, "start"), (-7.0, 14.0, "end"))
_Box = tuple[float, float, float, float]  # left, top, right, bottom


def beside(spots: Sequence[tuple[float, float, str]]) -> str:
    """The texts of the points (x, y, text) in user units; a text that finds no free place is left out."""
    taken = [(x - _RADIUS, y - _RADIUS, x + _RADIUS, y + _RADIUS) for x, y, _ in spots]
    parts = []
    for x, y, text in spots:
        for right, below, anchor in _SIDES if text else ():
            box = _box(x + right, y + below, text, anchor)
            if not any(_overlap(box, other) for other in taken):
                taken.append(box)
                parts.append(label(x + right, y + below, text, "tick over", anchor))
                break
    return "".join(parts)


def _box(x: float, y: float, text: str, anchor: str) -> _Box:
    """The room that a text takes whose baseline is at (x, y)."""
    width = LETTER * len(text)
    left = x if anchor == "start" else x - width
    return (left, y - 9, left + width, y + 1)


def _overlap(one: _Box, other: _Box) -> bool:
    """Whether two boxes share a place."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
