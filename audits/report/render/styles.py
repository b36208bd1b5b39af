"""How the arms of a figure are told apart: a shape and a dash beside the colour, which the page's style gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from audits.claims.figures import STYLES
from audits.report.render.svg import SHAPES

_SHAPE = {"causal": 0, "leaky": 1, "masked": 3, "control": 2, "other": 4}  # as `svg.marker` numbers them
_DASHES = ("", "7 3", "2 3", "9 3 2 3", "12 4", "4 2 1 2")


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
