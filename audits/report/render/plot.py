"""What all drawings share: the look of matplotlib's figures, and their SVG text, which is the same on every run."""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from textwrap import wrap
from typing import Any

from matplotlib import rc_context
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from audits.claims.figures import STYLES, Reference
from audits.formatting import number
from audits.report.render.escape import printable

WIDTH = 320.0  # points: as wide as a phone, where the text of a wider drawing would shrink
INCH = 72.0  # points
LETTER = 5.1  # points that a letter of the text takes on average
LINE = 11.5  # points that a line of text takes
INK, SOFT, GROUND = "#17202a", "#556170", "#ffffff"
# Of each style the colours in the order in which it comes again, with what dark ground turns each into.
_LEAKY = {"#c8500d": "#f5924e", "#9c6500": "#e0b04a", "#b3305c": "#ff8fae", "#7f2703": "#ffc5a0"}
_SHADES = {
    "causal": {"#1c62a8": "#6cb1f5", "#0f8577": "#54cdbd", "#4a4fc4": "#a3a7ff", "#2a8fc9": "#8fd3ff"},
    "leaky": _LEAKY,
    "masked": _LEAKY,
    "control": {"#5d6873": "#b4bfca", "#8a7350": "#d3bd98", "#36404a": "#dbe2e9", "#7c8f86": "#b7cbc1"},
    "other": {"#7a3db8": "#c9a2f2", "#b0389b": "#f08fdd", "#4d3f8f": "#b5a9f0", "#95568a": "#dba9d2"},
}
_DARK = {INK: "#e7ecf1", SOFT: "#a3afbb", "#d9dee5": "#303a45", GROUND: "#10151b"}
_DARK |= {light: dark for shades in _SHADES.values() for light, dark in shades.items()}
_MARKERS = {"causal": "o", "leaky": "s", "masked": "D", "control": "^", "other": "v"}
_SPARE = "PX*<>"
_DASHES: Sequence[Any] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (7, 2, 1.5, 2)), (0, (10, 3)), (0, (3, 1, 1, 1)))
_REFERENCE_DASHES = ((0, (6, 4)), (0, (2, 3)), (0, (10, 3, 2, 3)))
_FONTS = 'system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans","DejaVu Sans",sans-serif'
_HUGE, _TINY = 1e100, 1e-100  # beyond these the arithmetic of an axis would overflow
_NARROW = 10.0  # a log axis over less than this factor is read more easily with evenly spaced ticks (our choice)

assert set(_SHADES) == set(_MARKERS) == set(STYLES)


def looks(styles: Sequence[str]) -> list[dict[str, Any]]:
    """The colour, dashes and marker of each series, as matplotlib's options.

    A style that comes again has another shade and a marker that no style has.
    """
    found, spare = [], 0
    for index, style in enumerate(styles):
        again = styles[:index].count(style)
        marker = _SPARE[(spare := spare + 1) % len(_SPARE)] if again else _MARKERS[style]
        colour = list(_SHADES[style])[again % len(_SHADES[style])]
        filled = style != "masked"
        found.append({
            "color": colour, "linestyle": _DASHES[index % len(_DASHES)], "marker": marker, "markersize": 5.5,
            "markerfacecolor": colour if filled else GROUND, "markeredgecolor": GROUND if filled else colour,
            "markeredgewidth": 0.7 if filled else 1.4,
        })  # fmt: skip
    return found


@contextmanager
def drawing(height: float) -> Iterator[Figure]:
    """An empty figure of this height in points, in the look of the reports; draw and call `svg_text` within."""
    with rc_context(fname=str(files("audits.report") / "templates" / "reports.mplstyle")):
        yield Figure(figsize=(WIDTH / INCH, height / INCH))


def svg_text(figure: Figure) -> str:
    """The figure as SVG: no date, no font but the reader's, and other colours where the reader's ground is dark."""
    buffer = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph .* missing")  # the layout's font lacks it, the reader's may not
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Type": None, "Format": None})
    _, opening, content = buffer.getvalue().partition("<svg ")
    content = re.sub(r" font-family: [^;\"]*;?", "", content)
    content = re.sub(r'<g id="[^"]*">', "<g>", content)
    content = re.sub(r"\s*\n\s*", "\n", content).replace(' transform="rotate(-0 ', ' transform="rotate(0 ')
    return opening + content.replace("</style>", f"\n{_rules(content)}</style>", 1)


def _rules(content: str) -> str:
    """Font and dark colours; the light ones stand in the elements themselves, for readers without style sheets."""
    paints = sorted(set(re.findall(r"(fill|stroke): (#\w{6})", content)))
    dark = "".join(
        f'[style*="{part}: {colour}"]{{{part}:{_DARK[colour]}!important}}' for part, colour in paints if colour in _DARK
    )
    return f"text{{font-family:{_FONTS}}}\n@media (prefers-color-scheme:dark){{{dark}}}"


def drawable(value: float | None, *, log: bool) -> bool:
    """Whether an axis has a place for the value: finite, and above zero where the axis is logarithmic."""
    return value is not None and (_TINY if log else -_HUGE) < value <= _HUGE


def wrapped(text: str, width: float) -> str:
    """The text broken into lines of at most `width` points."""
    return "\n".join(wrap(printable(text), max(8, int(width / LETTER)))) or " "


def height_of(*texts: str) -> float:
    """Points that texts below each other take."""
    return LINE * sum(text.count("\n") + 1 for text in texts)


def set_ticks(axis: Axis, values: Sequence[float], *, log: bool, own: bool = False) -> None:
    """Round ticks with plain numbers; `own` marks the values themselves."""
    low, high = min(values), max(values)
    if own:
        axis.set_major_locator(FixedLocator(sorted(set(values))))
    elif not log or high / low < _NARROW:
        axis.set_major_locator(MaxNLocator(5))
    else:
        few = math.log10(high / low) <= 3
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,), numticks=8))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda tick, _: tick_text(tick)))


def tick_text(tick: float) -> str:
    """A tick without needless digits: "0.5", "250", "1e5"."""
    return number(tick, 3) if tick and not 1e-3 <= abs(tick) < 1e5 else f"{tick:.6g}"


def named(reference: Reference) -> str:
    """A reference in words, on lines that fit beside its sample."""
    return wrapped(f"{reference.label}: {number(reference.value)}", WIDTH - 60)


def draw_references(line: Callable[..., Any], references: Sequence[Reference]) -> None:
    """A line through each value, by `axhline` or `axvline`."""
    for index, reference in enumerate(references):
        dashes = _REFERENCE_DASHES[index % len(_REFERENCE_DASHES)]
        line(reference.value, color=INK, linewidth=1, linestyle=dashes, label=named(reference))
