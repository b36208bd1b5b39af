"""Figures as data: claims hold what is shown, the report draws it."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

STYLES = ("causal", "leaky", "masked", "control", "other")
Style = Annotated[str, Meta(extra_json_schema={"enum": [*STYLES]})]


def _known(style: str) -> None:
    if style not in STYLES:
        raise ValueError(f"style {style!r} is not one of {', '.join(STYLES)}")


class Reference(Struct, frozen=True, forbid_unknown_fields=True):
    """A value that the axis of values is read against, such as chance: a line across the figure."""

    label: str
    value: float


class DotColumn(Struct, frozen=True, forbid_unknown_fields=True):
    """One arm: a point (seed, value) for each run; `failed` counts runs without a value (diverged)."""

    label: str
    style: Style
    points: tuple[tuple[int, float], ...]
    failed: int = 0

    def __post_init__(self) -> None:
        _known(self.style)


class Dots(Struct, frozen=True, forbid_unknown_fields=True):
    """Arms side by side, every seed a point; `joined` draws a line from arm to arm for each seed (paired)."""

    title: str
    y_label: str
    columns: tuple[DotColumn, ...]
    note: str = ""
    log: bool = False
    joined: bool = True
    references: tuple[Reference, ...] = ()


class CurvePoint(Struct, frozen=True, forbid_unknown_fields=True):
    """One point of a curve; `low` and `high` are its interval, `count` the runs behind it ("4/5")."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    count: str = ""


class Series(Struct, frozen=True, forbid_unknown_fields=True):
    """One curve."""

    label: str
    style: Style
    points: tuple[CurvePoint, ...]

    def __post_init__(self) -> None:
        _known(self.style)


class Curves(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="curves"):
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
