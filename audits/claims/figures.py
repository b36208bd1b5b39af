"""Figures and tables as data: claims say what is to be seen, the report draws it. Nothing here knows how."""

from __future__ import annotations

from dataclasses import dataclass

STYLES = ("causal", "leaky", "masked", "control", "other")


def _known(style: str) -> None:
    if style not in STYLES:
        raise ValueError(f"style {style!r} is not one of {', '.join(STYLES)}")


@dataclass(frozen=True)
class Table:
    """A small table; its cells are already formatted for reading."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Reference:
    """A value that the axis of values is read against, such as chance: a line across the figure."""

    label: str
    value: float


@dataclass(frozen=True)
class DotColumn:
    """One arm: a point (seed, value) for each run; `failed` counts runs without a value (diverged)."""

    label: str
    style: str
    points: tuple[tuple[int, float], ...]
    failed: int = 0

    def __post_init__(self) -> None:
        _known(self.style)


@dataclass(frozen=True)
class Dots:
    """Arms side by side, every seed a point; `joined` draws a line from arm to arm for each seed (paired)."""

    title: str
    y_label: str
    columns: tuple[DotColumn, ...]
    note: str = ""
    log: bool = False
    joined: bool = True
    references: tuple[Reference, ...] = ()


@dataclass(frozen=True)
class CurvePoint:
    """One point of a curve; `low` and `high` are its interval, `count` the runs behind it ("4/5")."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    count: str = ""


@dataclass(frozen=True)
class Series:
    """One curve."""

    label: str
    style: str
    points: tuple[CurvePoint, ...]

    def __post_init__(self) -> None:
        _known(self.style)


@dataclass(frozen=True)
class Curves:
    """Curves over a common axis, with intervals where they are given."""

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    note: str = ""
    log_x: bool = False
    log_y: bool = False
    references: tuple[Reference, ...] = ()


Figure = Dots | Curves
