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


class DotPoint(Struct, frozen=True, order=True, forbid_unknown_fields=True):
    """The value of one run."""

    seed: int
    value: float


class DotColumn(Struct, frozen=True, forbid_unknown_fields=True):
    """One arm: a point for every run; `failed` counts the runs without a value (diverged)."""

    label: str
    style: Style
    points: tuple[DotPoint, ...]
    failed: Annotated[int, Meta(ge=0)] = 0

    def __post_init__(self) -> None:
        _known(self.style)


class Dots(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="dots"):
    """Arms side by side; `log` has a log axis and geometric means, `joined` pairs the points of one seed."""

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
