"""Lines that a figure's values are read against: drawn dashed, each in its own dashes, and named below the figure."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

from audits.claims.figures import Curves, Dots, Reference
from audits.formatting import number
from audits.report.render.axes import drawable
from audits.report.render.svg import element, label, line

_DASHES = ("6 4", "2 3", "10 3 2 3")
_SAMPLE, _LINE = 34.0, 18.0  # user units: the width of a sample, the height of a line of text
_LETTERS = 46  # that fit beside a sample


def references_of(figure: Dots | Curves) -> tuple[Reference, ...]:
    """Those that the axis of values has a place for."""
    log = figure.log if isinstance(figure, Dots) else figure.log_y
    return tuple(reference for reference in figure.references if drawable(reference.value, log=log))


def reference_line(index: int, start: tuple[float, float], end: tuple[float, float]) -> str:
    """The line of the reference of this number between two points."""
    drawn = line(*start, *end, "reference")
    return element("g", {"stroke-dasharray": _DASHES[index % len(_DASHES)]}, drawn)


def legend(references: Sequence[Reference], left: float, top: float) -> tuple[str, float]:
    """A sample and the name of each, from the baseline `top` on, and how high they are together."""
    parts, y = [], top
    for index, reference in enumerate(references):
        parts.append(reference_line(index, (left, y - 4), (left + _SAMPLE, y - 4)))
        for text in wrap(named(reference), _LETTERS):
            parts.append(label(left + _SAMPLE + 10, y, text, "value", "start"))
            y += _LINE
    return "".join(parts), y - top


def named(reference: Reference) -> str:
    """A reference in words."""
    return f"{reference.label}: {number(reference.value)}"
