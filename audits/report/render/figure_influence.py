"""The influence map: which output depends on which input, the past in one colour ramp and the future in another."""

from __future__ import annotations

import math
from dataclasses import dataclass

from audits.formatting import number
from audits.report.render.svg import coordinate, drawing, element, label, upright

LEVELS = 8  # one colour a decade below the largest influence
LARGEST = 128  # cells a side; longer sequences are pooled by their maximum, so that nothing leaks out of sight
_LEFT, _TOP, _SIDE = 46.0, 30.0, 288.0
Matrix = tuple[tuple[float, ...], ...]  # influence: [N sinks][N sources], in units of the output


@dataclass(frozen=True)
class Cells:
    """A matrix made ready to draw: [cell row][cell column], `per_cell` positions a cell."""

    past: Matrix  # largest influence of positions up to the output's own
    future: Matrix  # largest influence of later positions
    per_cell: int


def largest_future(influence: Matrix) -> float:
    """The largest influence of a later position on an earlier output, in units of the output; 0 when causal."""
    return max((x for sink, row in enumerate(influence) for x in row[sink + 1 :]), default=0.0)


def largest(influence: Matrix) -> float:
    """The largest influence of any position."""
    return max((x for row in influence for x in row), default=0.0)


def pooled(influence: Matrix) -> Cells:
    """The map in at most LARGEST cells a side, past and future kept apart."""
    n = len(influence)
    step = max(1, math.ceil(n / LARGEST))
    side = math.ceil(n / step)
    past = [[0.0] * side for _ in range(side)]
    future = [[0.0] * side for _ in range(side)]
    for sink, row in enumerate(influence):
        for source, value in enumerate(row):
            target = future if source > sink else past
            target[sink // step][source // step] = max(target[sink // step][source // step], value)
    return Cells(tuple(map(tuple, past)), tuple(map(tuple, future)), step)


def level(value: float, top: float) -> int:
    """The colour of a positive value: LEVELS - 1 in the decade of `top` and below, 0 for LEVELS decades and more."""
    return max(0, LEVELS - 1 - max(0, math.floor(math.log10(top) - math.log10(value) + 1e-9)))


def _runs(rows: Matrix, top: float, cell: float, ramp: str) -> str:
    """One path a colour, equal neighbours of a row merged; zeros are not drawn."""
    parts: dict[int, list[str]] = {}
    for y, row in enumerate(rows):
        x = 0
        while x < len(row):
            shade = level(row[x], top) if row[x] > 0 else -1
            end = x + 1
            while end < len(row) and (level(row[end], top) if row[end] > 0 else -1) == shade:
                end += 1
            if shade >= 0:
                at = f"M{coordinate(_LEFT + x * cell)} {coordinate(_TOP + y * cell)}"
                parts.setdefault(shade, []).append(
                    f"{at}h{coordinate((end - x) * cell)}v{coordinate(cell)}H{at[1:].split()[0]}z"
                )
            x = end
    return "".join(element("path", {"d": "".join(parts[s]), "class": f"{ramp}{s}"}) for s in sorted(parts))


def _diagonal(side: int, cell: float) -> str:
    """The staircase between what an output may see and its future."""
    steps = f"M{coordinate(_LEFT + cell)} {coordinate(_TOP)}" + "".join(
        f"v{coordinate(cell)}h{coordinate(cell)}" for _ in range(side - 1)
    )
    return element("path", {"d": steps, "class": "halo"}) + element("path", {"d": steps, "class": "stair"})


def _axes(n: int) -> str:
    bottom = _TOP + _SIDE
    parts = [upright(12, _TOP + _SIDE / 2, "output position")]
    for position in sorted({0, n // 4, n // 2, 3 * n // 4, n - 1}):
        at = (position + 0.5) / n * _SIDE
        parts += [
            label(_LEFT - 5, _TOP + at + 4, str(position), anchor="end"),
            label(_LEFT + at, bottom + 15, str(position)),
        ]
    parts.append(label(_LEFT + _SIDE / 2, bottom + 33, "changed input position", "axis"))
    return "".join(parts)


def _legend(top: float, y: float) -> str:
    """The two colour ramps with their decades."""
    width = _SIDE / (LEVELS + 4)
    left = _LEFT + 3.5 * width
    parts = []
    for index, (ramp, name) in enumerate((("past", "past: allowed"), ("future", "future: a leak"))):
        row = y + index * 16
        parts.append(label(left - 6, row + 10, name, anchor="end"))
        box = {"y": row, "width": width, "height": 12.0}
        parts += [element("rect", {"x": left + s * width, **box, "class": f"{ramp}{s}"}) for s in range(LEVELS)]
    for s, text in ((0, f"≤ {number(top / 10 ** (LEVELS - 1), 2)}"), (LEVELS - 1, number(top, 2))):
        parts.append(label(left + (s + 0.5) * width, y + 44, text))
    parts.append(label(left + LEVELS * width / 2, y + 44, "log scale"))
    return "".join(parts)


def influence_map(name: str, caption: str, influence: Matrix, top: float) -> str:
    """One N x N map [sink][source]; `top` is the largest value of the scale, shared by maps side by side."""
    cells, n, future = pooled(influence), len(influence), largest_future(influence)
    cell, top = _SIDE / len(cells.past), top or 1.0
    frame = {"x": _LEFT, "y": _TOP, "width": _SIDE, "height": _SIDE}
    verdict = f"largest: {number(future)}" if future else "exactly 0"
    corner = _LEFT + _SIDE - 8
    content = label(_LEFT + _SIDE / 2, 18, caption, "heading") + element("rect", {**frame, "class": "ground"})
    content += _runs(cells.past, top, cell, "past") + _runs(cells.future, top, cell, "future")
    content += _diagonal(len(cells.past), cell) + element("rect", {**frame, "class": "frame"})
    content += label(corner, _TOP + 20, "the future", "note", "end") + label(
        corner, _TOP + 37, verdict, "note strong", "end"
    )
    content += _axes(n) + _legend(top, _TOP + _SIDE + 46)
    description = (
        f"{n} by {n} positions. Below the diagonal the allowed past, above it the future. "
        f"Influence of the future on the past: {verdict}."
    )
    return drawing(name, _LEFT + _SIDE + 10, _TOP + _SIDE + 96, f"Influence map: {caption}", description, content)
