"""The kill matrix: every planted leak against every probe, with its clean control in the same cell."""

from __future__ import annotations

from collections.abc import Sequence

from audits.claims.views import KillMatrix, KillRow
from audits.report.render.escape import markup
from audits.report.render.marks import audit_mark
from audits.report.render.svg import Attributes, coordinate, drawing, element, label, line

_LEFT, _HEAD, _ROW, _COLUMN, _HALF = 216.0, 128.0, 22.0, 46.0, 18.0
_NAMED = 190.0  # room for the class that the auditor named
# what a half-cell shows: symbol and style, by verdict
_LEAKY = {"LEAK": ("✗", "seen"), "PASS": ("·", "blind"), "UNDETERMINED": ("?", "open")}
_CLEAN = {"PASS": ("✓", "quiet"), "LEAK": ("!", "alarm"), "UNDETERMINED": ("?", "open")}


def _half(x: float, y: float, looks: tuple[str, str]) -> str:
    symbol, style = looks
    box: Attributes = {"x": x, "y": y + 2, "width": _HALF, "height": _HALF, "rx": 3.0, "class": f"cell {style}"}
    return element("rect", box) + label(x + _HALF / 2, y + 15.5, symbol, f"sign {style}")


def _cell(leak: KillRow, probe: str, x: float, y: float) -> str:
    """A probe's verdicts on the leaky model (left) and on its control (right)."""
    leaky, clean = leak.leaky.get(probe, ""), leak.clean.get(probe, "")
    tip = f"{leak.name}, {probe}: leaky model {audit_mark(leaky).word}, clean control {audit_mark(clean).word}"
    halves = _half(x, y, _LEAKY.get(leaky, (" ", "absent")))
    halves += _half(x + _HALF + 3, y, _CLEAN.get(clean, (" ", "absent")))
    return element("g", {}, element("title", {}, markup(tip)) + halves)


def named_text(leak: KillRow) -> str:
    """Whether the auditor named the right class: "✓ dense", "✗ dense, not selection", "✗ missed"."""
    if leak.named == leak.leak_class:
        return f"✓ {leak.named}"
    return f"✗ {leak.named}, not {leak.leak_class}" if leak.named else "✗ missed"


def _row(leak: KillRow, probes: Sequence[str], y: float) -> str:
    tip = element("title", {}, markup(f"{leak.mechanism} Origin: {leak.origin}"))
    name = element("g", {}, tip + label(_LEFT - 10, y + 15.5, leak.name, "value", "end"))
    cells = "".join(_cell(leak, probe, _LEFT + i * _COLUMN, y) for i, probe in enumerate(probes))
    style = "value" if leak.named == leak.leak_class else "value strong"
    return name + cells + label(_LEFT + len(probes) * _COLUMN + 8, y + 15.5, named_text(leak), style, "start")


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
    entries = (
        (_LEAKY["LEAK"], "leak seen"),
        (_LEAKY["PASS"], "leak not seen"),
        (_CLEAN["PASS"], "clean control passes"),
        (_CLEAN["LEAK"], "false alarm"),
        (_LEAKY["UNDETERMINED"], "undetermined"),
    )
    rows = [
        _half(4, 4 + i * _ROW, look) + label(28, 19.5 + i * _ROW, text, "tick", "start")
        for i, (look, text) in enumerate(entries)
    ]
    return "".join(rows)


def _totals(matrix: KillMatrix, y: float) -> str:
    parts = [line(4, y + 3, _LEFT + len(matrix.probes) * _COLUMN + _NAMED, y + 3, "grid")]
    parts.append(label(_LEFT - 10, y + 21, f"leaks seen, of {len(matrix.leaks)}", "axis", "end"))
    for index, probe in enumerate(matrix.probes):
        seen = sum(leak.leaky.get(probe) == "LEAK" for leak in matrix.leaks)
        parts.append(label(_LEFT + index * _COLUMN + _HALF + 1.5, y + 21, str(seen), "value strong"))
    return "".join(parts)


def kill_matrix_plot(name: str, matrix: KillMatrix) -> str:
    """The figure, leaks grouped by class; empty text without leaks."""
    if not matrix.leaks:
        return ""
    probes, y, group = matrix.probes, _HEAD, ""
    parts = [_legend(), _header(probes)]
    for leak in matrix.leaks:
        if leak.leak_class != group:
            group = leak.leak_class
            parts.append(label(4, y + 18, group, "heading", "start"))
            parts.append(line(_LEFT, y + 13, _LEFT + len(probes) * _COLUMN + _NAMED, y + 13, "grid"))
            y += _ROW + 2
        parts.append(_row(leak, probes, y))
        y += _ROW
    parts.append(_totals(matrix, y))
    killed, alarms = sum(leak.killed for leak in matrix.leaks), sum(leak.false_alarm for leak in matrix.leaks)
    summary = f"{killed} of {len(matrix.leaks)} planted leaks are seen by at least one probe; false alarms: {alarms}."
    width = _LEFT + len(probes) * _COLUMN + _NAMED
    return drawing(name, width, y + 32, "Kill matrix: planted leaks against probes", summary, "".join(parts))
