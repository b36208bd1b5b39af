"""The influence map: which output depends on which input, the past in one colour ramp and the future in another."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from markupsafe import Markup

from audits.formatting import number
from audits.report.render.templates import fragment

LEVELS = 8  # one colour a decade below the largest influence
LARGEST = 128  # cells a side; longer sequences are pooled by their maximum, so that nothing leaks out of sight
Matrix = tuple[tuple[float, ...], ...]  # influence: [N sinks][N sources], in units of the output


@dataclass(frozen=True)
class Cells:
    """A matrix made ready to draw: [cell row][cell column], `per_cell` positions a cell."""

    past: Matrix  # largest influence of positions up to the output's own
    future: Matrix  # largest influence of later positions
    per_cell: int


@dataclass(frozen=True)
class Shade:
    """All cells of one colour: its class in the style sheet, their path in units of a cell, and their values."""

    style: str
    cells: str
    values: str


def influence_map(name: str, caption: str, influence: Matrix, top: float) -> Markup:
    """One N x N map [sink][source]; `top` is the largest value of the scale, shared by maps side by side.

    `name` is unique on its page.
    """
    cells, n, future = pooled(influence), len(influence), largest_future(influence)
    top = top or 1.0
    return fragment(
        "influence.svg",
        name=name,
        caption=caption,
        n=n,
        side=len(cells.past),
        shades=(*_shades("past", cells.past, top), *_shades("future", cells.future, top)),
        future=f"largest: {number(future)}" if future else "exactly 0",
        positions=sorted({0, n // 4, n // 2, 3 * n // 4, n - 1}),
        levels=LEVELS,
        least=number(top / 10 ** (LEVELS - 1), 2),
        most=number(top, 2),
    )


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


def _shades(ramp: str, rows: Matrix, top: float) -> Iterator[Shade]:
    """The cells above 0 by colour, equal neighbours of a row merged."""
    paths: dict[int, list[str]] = defaultdict(list)
    for y, row in enumerate(rows):
        x = 0
        for shade, cells in groupby(row, lambda value: level(value, top) if value > 0 else -1):
            width = len(tuple(cells))
            if shade >= 0:
                paths[shade].append(f"M{x} {y}h{width}v1h-{width}z")
            x += width
    for shade in sorted(paths):
        highest = number(top / 10 ** (LEVELS - 1 - shade), 2)
        lowest = number(top / 10 ** (LEVELS - shade), 2)
        values = f"{ramp}: {lowest} to {highest}" if shade else f"{ramp}: {highest} or less"
        yield Shade(f"{ramp}{shade}", "".join(paths[shade]), values)
