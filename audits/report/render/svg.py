"""The few SVG elements the figures are made of; a figure is text, coloured by classes that the page's style defines."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from audits.report.render.escape import markup

Attributes = Mapping[str, str | float]


def coordinate(value: float) -> str:
    """A length in user units with at most two decimals and no trailing zeros."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def element(name: str, attributes: Attributes, content: str = "") -> str:
    """One element; `content` is markup already, attribute values are escaped here."""
    pairs = (f'{key}="{markup(v) if isinstance(v, str) else coordinate(v)}"' for key, v in attributes.items())
    opening = " ".join((name, *pairs))
    return f"<{opening}>{content}</{name}>" if content else f"<{opening}/>"


def label(x: float, y: float, text: str, style: str = "tick", anchor: str = "middle") -> str:
    """A text with its baseline at (x, y)."""
    return element("text", {"x": x, "y": y, "class": style, "text-anchor": anchor}, markup(text) or " ")


def upright(x: float, y: float, text: str, style: str = "axis") -> str:
    """A text that reads upwards, centred at (x, y): the name of a vertical axis."""
    turn = f"rotate(-90 {coordinate(x)} {coordinate(y)})"
    return element("text", {"x": x, "y": y, "class": style, "text-anchor": "middle", "transform": turn}, markup(text))


def line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    """A straight line."""
    return element("line", {"x1": x1, "y1": y1, "x2": x2, "y2": y2, "class": style})


def path(points: Iterable[tuple[float, float]], style: str) -> str:
    """An open line through the points."""
    steps = "L".join(f"{coordinate(x)} {coordinate(y)}" for x, y in points)
    return element("path", {"d": f"M{steps}", "class": style}) if steps else ""


SHAPES = 6  # circle, square, triangle, diamond, triangle on its tip, cross
_CORNERS: Mapping[int, tuple[tuple[float, float], ...]] = {
    2: ((0, -1.2), (1.2, 1), (-1.2, 1)),
    3: ((0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)),
    4: ((0, 1.2), (1.2, -1), (-1.2, -1)),
    5: ((-0.4, -1.2), (0.4, -1.2), (0.4, -0.4), (1.2, -0.4), (1.2, 0.4), (0.4, 0.4), (0.4, 1.2), (-0.4, 1.2),
        (-0.4, 0.4), (-1.2, 0.4), (-1.2, -0.4), (-0.4, -0.4)),
}  # fmt: skip


def marker(shape: int, x: float, y: float, style: str, title: str) -> str:
    """A data point, read out by its title; the shapes repeat after `SHAPES`."""
    tip = element("title", {}, markup(title))
    r, shape = 5.0, shape % SHAPES
    if shape == 0:
        return element("circle", {"cx": x, "cy": y, "r": r, "class": style}, tip)
    if shape == 1:
        return element("rect", {"x": x - r, "y": y - r, "width": 2 * r, "height": 2 * r, "class": style}, tip)
    spots = " ".join(f"{coordinate(x + dx * r)},{coordinate(y + dy * r)}" for dx, dy in _CORNERS[shape])
    return element("polygon", {"points": spots, "class": style}, tip)


def drawing(name: str, width: float, height: float, title: str, description: str, content: str) -> str:
    """A figure of the given size; `name` is unique on its page, title and description are read to the blind."""
    texts = element("title", {"id": f"{name}-title"}, markup(title))
    texts += element("desc", {"id": f"{name}-desc"}, markup(description))
    frame: Attributes = {
        "xmlns": "http://www.w3.org/2000/svg",
        "viewBox": f"0 0 {coordinate(width)} {coordinate(height)}",
        "width": width,
        "height": height,
        "role": "img",
        "aria-labelledby": f"{name}-title {name}-desc",
        "class": "drawing",
    }
    return element("svg", frame, texts + content)


@dataclass(frozen=True)
class Scale:
    """A mapping from data in [low, high] to user units [start, end], logarithmic when `log`."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Where a value lies; the middle when the data have no extent."""
        low, high, at = (self.low, self.high, value)
        if self.log:
            low, high, at = math.log(low), math.log(high), math.log(at)
        share = 0.5 if high == low else (at - low) / (high - low)
        return self.start + share * (self.end - self.start)


def round_ticks(low: float, high: float, wanted: int = 5) -> tuple[float, ...]:
    """About `wanted` round values (1, 2 or 5 times a power of ten) that cover [low, high], outer ones included."""
    span = high - low or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / wanted))
    step = next(power * factor for factor in (1, 2, 5, 10) if span / (power * factor) <= wanted)
    first, last = math.floor(low / step), math.ceil(high / step)
    return tuple(index * step for index in range(first, max(last, first + 1) + 1))


def decades(low: float, high: float) -> tuple[float, ...]:
    """Powers of ten that cover [low, high], both positive, outer ones included."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    return tuple(10.0**exponent for exponent in range(first, max(last, first + 1) + 1))
