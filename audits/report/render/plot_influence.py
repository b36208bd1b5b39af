"""The influence map of trained weights as a drawing: the past in blue, the future in orange, exact zeros empty."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from audits.formatting import number
from audits.report.render.figure_influence import Matrix
from audits.report.render.plot import INK, SOFT, WIDTH, drawing, svg_text

_DECADES = 8  # from the largest influence downwards, each paler than the one above
_SIDE, _LEFT, _BOTTOM = 230.0, 48.0, 52.0  # points
_PAST, _FUTURE = (0.11, 0.38, 0.66), (0.78, 0.31, 0.05)


def influence_svg(influence: Matrix, top: float) -> str:
    """One map.

    Args:
        influence: [N sinks][N sources], in units of the output.
        top: the largest value of the scale, shared by maps that are compared.
    """
    height = _SIDE + _BOTTOM + 8
    with drawing(height) as figure:
        axes = figure.add_axes((_LEFT / WIDTH, _BOTTOM / height, _SIDE / WIDTH, _SIDE / height))
        axes.imshow(_pixels(np.asarray(influence), top or 1.0), interpolation="none")
        axes.grid(visible=False)
        axes.set_xlabel("changed input position")
        axes.set_ylabel("output position")
        axes.text(0.97, 0.95, "the future", ha="right", va="top", transform=axes.transAxes, color=SOFT)
        axes.step(*_staircase(len(influence)), where="post", color=INK, linewidth=0.7)
        note = f"full colour: {number(top, 2)}; each paler step is a tenth of it"
        figure.text(0.5, 0.01, note, ha="center", va="bottom", color=SOFT)
        return svg_text(figure)


def _pixels(influence: NDArray[np.float64], top: float) -> NDArray[np.float64]:
    """Red, green, blue and opacity of every cell: [N][N][4]."""
    n = len(influence)
    future = np.triu(np.ones((n, n), dtype=bool), 1)
    with np.errstate(divide="ignore"):
        below = np.clip(np.floor(np.log10(top / influence)), 0, _DECADES - 1)
    opacity = np.where(influence > 0, (_DECADES - below) / _DECADES, 0.0)
    return np.dstack([np.where(future[..., None], _FUTURE, _PAST), opacity])


def _staircase(n: int) -> tuple[list[float], list[float]]:
    """The border between what an output may see and its future."""
    return [0.5 + i for i in range(n)], [0.5 + i for i in range(n)]
