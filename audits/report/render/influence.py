"""The influence map: which output depends on which input, the past in one colour ramp and the future in another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from audits.formatting import number
from audits.report.render.templates import fragment

LEVELS = 8  # one colour a decade below the largest influence
LARGEST = 128  # cells a side; longer sequences are pooled by their maximum, so that nothing leaks out of sight
Matrix = Sequence[Sequence[float]]  # influence: [N sinks][N sources], in units of the output


def influence_map(
    name: str, caption: str, influence: Matrix, top: float, *, times: Sequence[str] = (), alone: bool = False
) -> Markup:
    """One N x N map [sink][source] in units of the output; `name` is unique on its page.

    Maps side by side share `top`, the largest value of the scale. One that is `alone` in its file brings its style.
    Positions that stand for `times` [N] are called by them.
    """
    past, future = pooled(influence)
    n, leak, top = len(influence), largest_future(influence), top or 1.0
    return fragment(
        "influence.svg",
        name=name,
        caption=caption,
        alone=alone,
        n=n,
        side=len(past),
        shades=(*_shades("past", past, top), *_shades("future", future, top)),
        future=f"largest: {number(leak)}" if leak else "exactly 0",
        timed=bool(times),
        ticks=[(at, times[at] if times else str(at)) for at in sorted({0, n // 4, n // 2, 3 * n // 4, n - 1})],
        levels=LEVELS,
        least=number(top / 10 ** (LEVELS - 1), 2),
        most=number(top, 2),
    )


def largest(influence: Matrix) -> float:
    """The largest influence of any position."""
    return float(np.max(influence, initial=0.0))


def largest_future(influence: Matrix) -> float:
    """The largest influence of a later position on an earlier output, in units of the output; 0 when causal."""
    return float(np.triu(influence, 1).max(initial=0.0))


def pooled(influence: Matrix) -> NDArray[np.float64]:
    """The largest influence in each cell: [past or future][cell row][cell column], at most LARGEST cells a side."""
    step = -(-len(influence) // LARGEST)
    values = np.pad(np.asarray(influence, dtype=np.float64), (0, -len(influence) % step))
    side = len(values) // step
    cells = np.stack([np.tril(values), np.triu(values, 1)]).reshape(2, side, step, side, step)
    return np.max(cells, axis=(2, 4))  # type: ignore[no-any-return] # numpy knows no result of two axes


def levels(values: NDArray[np.float64], top: float) -> NDArray[np.int64]:
    """The colour of each value: LEVELS - 1 in the decade of `top`, 0 for LEVELS decades below and more, -1 for 0."""
    with np.errstate(divide="ignore"):
        decades = np.floor(np.log10(top) - np.log10(values) + 1e-9)
    return np.where(values > 0, LEVELS - 1 - np.clip(decades, 0, LEVELS - 1), -1).astype(np.int64)


def _shades(ramp: str, values: NDArray[np.float64], top: float) -> Iterator[tuple[str, str, str]]:
    """All cells of one colour above 0: its class in the style sheet, their path in units of a cell, their values."""
    paths: dict[int, list[str]] = defaultdict(list)
    for y, row in enumerate(levels(values, top).tolist()):
        x = 0
        for level, cells in groupby(row):
            width = len(tuple(cells))
            paths[level].append(f"M{x} {y}h{width}v1h-{width}z")
            x += width
    for level in sorted(paths.keys() - {-1}):
        highest, lowest = (number(top / 10 ** (LEVELS - below - level), 2) for below in (1, 0))
        words = f"{lowest} to {highest}" if level else f"{highest} or less"
        yield f"{ramp}{level}", "".join(paths[level]), f"{ramp}: {words}"
