"""What all drawings share: the look of matplotlib's figures, and their SVG text, which is the same on every run."""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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
INK, SOFT, GRID, GROUND = "#17202a", "#556170", "#d9dee5", "#ffffff"
# The colours of each style in the order in which it comes again, and what dark ground turns each colour into.
_SHADES = {
    "causal": ("#1c62a8", "#0f8577", "#4a4fc4", "#2a8fc9"),
    "leaky": ("#c8500d", "#9c6500", "#b3305c", "#7f2703"),
    "masked": ("#c8500d", "#9c6500", "#b3305c", "#7f2703"),
    "control": ("#5d6873", "#8a7350", "#36404a", "#7c8f86"),
    "other": ("#7a3db8", "#b0389b", "#4d3f8f", "#95568a"),
}
_DARK = {
    INK: "#e7ecf1", SOFT: "#a3afbb", GRID: "#303a45", GROUND: "#10151b",
    "#1c62a8": "#6cb1f5", "#0f8577": "#54cdbd", "#4a4fc4": "#a3a7ff", "#2a8fc9": "#8fd3ff",
    "#c8500d": "#f5924e", "#9c6500": "#e0b04a", "#b3305c": "#ff8fae", "#7f2703": "#ffc5a0",
    "#5d6873": "#b4bfca", "#8a7350": "#d3bd98", "#36404a": "#dbe2e9", "#7c8f86": "#b7cbc1",
    "#7a3db8": "#c9a2f2", "#b0389b": "#f08fdd", "#4d3f8f": "#b5a9f0", "#95568a": "#dba9d2",
}  # fmt: skip
_MARKERS = {"causal": "o", "leaky": "s", "masked": "D", "control": "^", "other": "v"}
_SPARE = "PX*<>"
_DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (7, 2, 1.5, 2)), (0, (10, 3)), (0, (3, 1, 1, 1)))
REFERENCE_DASHES = ((0, (6, 4)), (0, (2, 3)), (0, (10, 3, 2, 3)))
_RC: Any = {
    "svg.fonttype": "none",  # text stays text
    "text.parse_math": False,  # a dollar is a dollar
    "svg.hashsalt": "hubrouter-audit",
    "font.family": "DejaVu Sans",  # which matplotlib brings along: the layout is the same on every machine
    "font.size": 8.5,
    "axes.linewidth": 0.8,
    "axes.edgecolor": GRID,
    "axes.labelcolor": SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "text.color": INK,
    "figure.facecolor": GROUND,
    "axes.facecolor": GROUND,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
}
_FONTS = 'system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans","DejaVu Sans",sans-serif'
_HUGE, _TINY = 1e100, 1e-100  # beyond these the arithmetic of an axis would overflow
_NARROW = 10.0  # a log axis over less than this factor is read more easily with evenly spaced ticks (our choice)

assert set(_SHADES) == set(_MARKERS) == set(STYLES)


@dataclass(frozen=True)
class Look:
    """One series: colour, marker, whether that is filled, and the dashes of its line."""

    colour: str
    marker: str
    filled: bool
    dashes: Any

    @property
    def markers(self) -> dict[str, Any]:
        """The options of matplotlib's markers."""
        face, edge = (self.colour, GROUND) if self.filled else (GROUND, self.colour)
        width = 0.7 if self.filled else 1.4
        return {"marker": self.marker, "markerfacecolor": face, "markeredgecolor": edge, "markeredgewidth": width}


def looks(styles: Sequence[str]) -> tuple[Look, ...]:
    """One look a series; a style that comes again has another shade and a marker that no style has."""
    found, spare = [], 0
    for index, style in enumerate(styles):
        again = styles[:index].count(style)
        marker = _SPARE[(spare := spare + 1) % len(_SPARE)] if again else _MARKERS[style]
        shade = _SHADES[style][again % len(_SHADES[style])]
        found.append(Look(shade, marker, style != "masked", _DASHES[index % len(_DASHES)]))
    return tuple(found)


@contextmanager
def drawing(height: float) -> Iterator[Figure]:
    """An empty figure of this height in points, in the look of the reports; draw and call `svg_text` within."""
    with rc_context(_RC):
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
    if value is None or not math.isfinite(value) or abs(value) > _HUGE:
        return False
    return value > _TINY if log else True


def wrapped(text: str, width: float) -> str:
    """The text broken into lines of at most `width` points."""
    return "\n".join(wrap(printable(text), max(8, int(width / LETTER)))) or " "


def lines_of(text: str) -> int:
    """How many lines a text has."""
    return text.count("\n") + 1


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
    """A reference in words."""
    return f"{reference.label}: {number(reference.value)}"
