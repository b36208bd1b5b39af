"""The kill matrix: every planted leak against every probe, with its clean twin in the same cell."""

from __future__ import annotations

from collections.abc import Sequence

from audits.report.claims.views import KillMatrix, KillRow
from audits.report.render.escape import markup
from audits.report.render.marks import audit_mark
from audits.report.render.svg import Attributes, coordinate, drawing, element, label, line

_LEFT, _HEAD, _ROW, _COLUMN, _HALF = 216.0, 128.0, 22.0, 46.0, 18.0
_NAMED = 190.0  # room for the class that the auditor named
# what a half-cell shows: symbol and style, by verdict
_LEAKY = {"LEAK": ("✗", "seen"), "PASS": ("·", "blind"), "UNDETERMINED": ("?", "open")}
_CLEAN = {"PASS": ("✓", "quiet"), "LEAK": ("!", "alarm"), "UNDETERMINED": ("?", "open")}


def _half(x: float, y: float, looks: tuple[str, str]) -> str:
    """One half of a cell: a box and its symbol."""
    symbol, style = looks
    box: Attributes = {"x": x, "y": y + 2, "width": _HALF, "height": _HALF, "rx": 3.0, "class": f"cell {style}"}
    return element("rect", box) + label(x + _HALF / 2, y + 15.5, symbol, f"sign {style}")


def _cell(twin: KillRow, probe: str, x: float, y: float) -> str:
    """A probe's verdicts on the leaky (left) and the clean twin (right)."""
    leaky, clean = twin.leaky.get(probe, ""), twin.clean.get(probe, "")
    told = f"{twin.name}, {probe}: leaky twin {audit_mark(leaky).word}, clean twin {audit_mark(clean).word}"
    halves = _half(x, y, _LEAKY.get(leaky, (" ", "absent")))
    halves += _half(x + _HALF + 3, y, _CLEAN.get(clean, (" ", "absent")))
    return element("g", {}, element("title", {}, markup(told)) + halves)


def named_text(twin: KillRow) -> str:
    """Whether the auditor named the right class: "✓ dense", "✗ dense, not selection", "✗ missed"."""
    if twin.named == twin.leak_class:
        return f"✓ {twin.named}"
    return f"✗ {twin.named}, not {twin.leak_class}" if twin.named else "✗ missed"


def _row(twin: KillRow, probes: Sequence[str], y: float) -> str:
    """A twin's name, its cells and the class named."""
    told = element("title", {}, markup(f"{twin.mechanism} Origin: {twin.origin}"))
    name = element("g", {}, told + label(_LEFT - 10, y + 15.5, twin.name, "value", "end"))
    cells = "".join(_cell(twin, probe, _LEFT + i * _COLUMN, y) for i, probe in enumerate(probes))
    style = "value" if twin.named == twin.leak_class else "value strong"
    return name + cells + label(_LEFT + len(probes) * _COLUMN + 8, y + 15.5, named_text(twin), style, "start")


def _header(probes: Sequence[str]) -> str:
    """Slanted probe names and the heading of the last column."""
    parts = []
    for index, probe in enumerate(probes):
        x, y = _LEFT + index * _COLUMN + _HALF, _HEAD - 10
        turn = f"rotate(-40 {coordinate(x)} {coordinate(y)})"
        where: Attributes = {"x": x, "y": y, "class": "value", "text-anchor": "start", "transform": turn}
        parts.append(element("text", where, markup(probe)))
    parts.append(label(_LEFT + len(probes) * _COLUMN + 8, _HEAD - 10, "class named", "axis", "start"))
    return "".join(parts)


def _legend() -> str:
    """What the halves mean."""
    entries = (
        (_LEAKY["LEAK"], "leak seen"),
        (_LEAKY["PASS"], "leak not seen"),
        (_CLEAN["PASS"], "clean twin passes"),
        (_CLEAN["LEAK"], "false alarm"),
        (_LEAKY["UNDETERMINED"], "undetermined"),
    )
    rows = [
        _half(4, 4 + i * _ROW, look) + label(28, 19.5 + i * _ROW, text, "tick", "start")
        for i, (look, text) in enumerate(entries)
    ]
    return "".join(rows)


def _totals(matrix: KillMatrix, y: float) -> str:
    """How many leaks each probe sees."""
    parts = [line(4, y + 3, _LEFT + len(matrix.probes) * _COLUMN + _NAMED, y + 3, "grid")]
    parts.append(label(_LEFT - 10, y + 21, f"leaks seen, of {len(matrix.twins)}", "axis", "end"))
    for index, probe in enumerate(matrix.probes):
        seen = sum(twin.leaky.get(probe) == "LEAK" for twin in matrix.twins)
        parts.append(label(_LEFT + index * _COLUMN + _HALF + 1.5, y + 21, str(seen), "value strong"))
    return "".join(parts)


def kill_matrix_plot(name: str, matrix: KillMatrix) -> str:
    """The figure, twins grouped by leak class; empty text without twins."""
    if not matrix.twins:
        return ""
    probes, y, group = matrix.probes, _HEAD, ""
    parts = [_legend(), _header(probes)]
    for twin in matrix.twins:
        if twin.leak_class != group:
            group = twin.leak_class
            parts.append(label(4, y + 18, group, "heading", "start"))
            parts.append(line(_LEFT, y + 13, _LEFT + len(probes) * _COLUMN + _NAMED, y + 13, "grid"))
            y += _ROW + 2
        parts.append(_row(twin, probes, y))
        y += _ROW
    parts.append(_totals(matrix, y))
    killed, alarms = sum(twin.killed for twin in matrix.twins), sum(twin.false_alarm for twin in matrix.twins)
    told = f"{killed} of {len(matrix.twins)} planted leaks are seen by at least one probe; false alarms: {alarms}."
    width = _LEFT + len(probes) * _COLUMN + _NAMED
    return drawing(name, width, y + 32, "Kill matrix: planted leaks against probes", told, "".join(parts))
