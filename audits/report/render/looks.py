"""The look of each arm of a figure, and the dashed reference lines of its values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap

from audits.claims.figures import STYLES, Curves, Dots, Reference
from audits.formatting import number
from audits.report.render.axes import drawable
from audits.report.render.svg import SHAPES, element, label, line

_SHAPE = {"causal": 0, "leaky": 1, "masked": 3, "control": 2, "other": 4}  # as `svg.marker` numbers them
_DASHES = ("", "7 3", "2 3", "9 3 2 3", "12 4", "4 2 1 2")
_REFERENCE_DASHES = ("6 4", "2 3", "10 3 2 3")
_SAMPLE, _LINE = 34.0, 18.0  # user units: the width of a sample, the height of a line of text
_LETTERS = 46  # that fit next to a sample


@dataclass(frozen=True)
class Look:
    """One series: the marker's shape, the dashes of its line, and its classes in the style sheet."""

    shape: int
    dash: str
    classes: str


def shape_of(style: str) -> int:
    """The marker of an arm; each style of `audits.claims.figures` has its own."""
    return _SHAPE[style]


def looks(styles: Sequence[str]) -> tuple[Look, ...]:
    """One look a series, no two alike among the first six; a style that comes again gets another shade."""
    return tuple(
        Look(shape, _DASHES[index % len(_DASHES)], _classes(styles[index], styles[:index].count(styles[index]) % 3))
        for index, shape in enumerate(_shapes(styles))
    )


def _classes(style: str, again: int) -> str:
    return f"{style} again{again}" if again else style


def _shapes(styles: Sequence[str]) -> tuple[int, ...]:
    """The style's own marker where it comes first, else one that nobody has."""
    first = {styles.index(style): _SHAPE[style] for style in styles}
    spare = [shape for shape in range(SHAPES) if shape not in first.values()] or list(range(SHAPES))
    others = [index for index in range(len(styles)) if index not in first]
    given = {index: spare[place % len(spare)] for place, index in enumerate(others)}
    return tuple((first | given)[index] for index in range(len(styles)))


assert set(_SHAPE) == set(STYLES)


def references_of(figure: Dots | Curves) -> tuple[Reference, ...]:
    """Those that the axis of values has a place for."""
    log = figure.log if isinstance(figure, Dots) else figure.log_y
    return tuple(reference for reference in figure.references if drawable(reference.value, log=log))


def reference_line(index: int, start: tuple[float, float], end: tuple[float, float]) -> str:
    """The line of the reference of this number between two points."""
    drawn = line(*start, *end, "reference")
    return element("g", {"stroke-dasharray": _REFERENCE_DASHES[index % len(_REFERENCE_DASHES)]}, drawn)


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
