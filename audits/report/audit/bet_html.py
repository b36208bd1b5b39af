"""One bet as a small self-contained page: the outcome in words, the wealth as a figure, what it cannot see."""

from __future__ import annotations

import math
from collections.abc import Sequence

from audits.betting import BetResult, BetVerdict, explain
from audits.formatting import MISSING, Table, count, number
from audits.report.render.escape import markup
from audits.report.render.marks import Mark
from audits.report.render.page import definitions, limits, page, paragraph, section, table, verdict_head, wide_figure
from audits.report.render.svg import Scale, drawing, label, line, marker, path, round_ticks, upright

_CAPTION = (
    "The copy bets on each next token and is then trained on it. Against random tokens the wealth of a model that does "
    "not see its future keeps its mean of 1, however the model is trained; it ever crosses the line with at most the "
    "probability of the level."
)
_LIMITS = (
    "A proof holds for the trained copy: the architecture leaks, for these weights or for weights a few steps away.",
    "No proof is not a PASS: the predictor may not have learnt to use a leak. The probes of `model` test for one.",
)
_WIDTH, _LEFT, _TOP, _BOTTOM = 560.0, 62.0, 30.0, 300.0
_DRAWN = 600  # points of a line at most: what lies between two of them is narrower than a pixel


def bet_html(result: BetResult) -> str:
    """The page; a test without proof is never marked as a PASS."""
    proven = result.verdict is BetVerdict.LEAK
    mark = Mark("✗", "LEAK", "fail") if proven else Mark("?", "NOT PROVEN", "neutral")
    head = verdict_head(mark, result.target) + "".join(paragraph(line) for line in explain(result))
    body = (
        section("wealth", "Wealth", wide_figure(wealth_plot("wealth", result), _CAPTION)),
        section("predictors", "Predictors", table(_predictors(result))),
        limits("What this proves", _LIMITS),
        section("settings", "Settings and environment", definitions(_settings(result))),
    )
    return page(f"{mark.word}: {result.target}", head, "\n".join(body), f"Stopped: {result.stopped}.")


def _predictors(result: BetResult) -> Table:
    rows = [
        (
            str(summary.alphabet),
            number(summary.bits_per_token),
            MISSING if summary.position is None else str(summary.position),
            number(summary.position_bits),
            str(summary.lost_steps),
        )
        for summary in result.predictors
    ]
    header = (
        "symbols",
        "extracted at the end, bits per token",
        "most at position",
        "bits there",
        "steps without an update",
    )
    return Table("One predictor for each alphabet", header, tuple(rows))


def _settings(result: BetResult) -> list[tuple[str, str]]:
    pairs = [*sorted(result.settings.items()), *sorted(result.environment.items())]
    return [(key, markup(str(value)) or "-") for key, value in pairs]


def wealth_plot(name: str, result: BetResult) -> str:
    """Log10 of wealth step by step: mean and each predictor's own, the level of proof, and the step of the proof."""
    curves = [("mean wealth", _decimal(result.log_wealth))]
    curves += [
        (f"{a.alphabet} symbols", _decimal(a.log_wealth)) for a in result.predictors if len(result.predictors) > 1
    ]
    proof = -math.log10(result.alpha)
    heights = [height for _, curve in curves for height in curve] + [0.0, proof]
    ticks = round_ticks(min(heights), max(heights))
    x = Scale(0, result.steps, _LEFT + 8, _WIDTH - 22)
    y = Scale(ticks[0], ticks[-1], _BOTTOM, _TOP)
    parts = [_axes(result.steps, ticks, x, y), _level(result, proof, y)]
    parts += [_curve(index, title, curve, x, y) for index, (title, curve) in enumerate(curves)]
    if result.proven_at:
        at = _decimal(result.log_wealth)[result.proven_at - 1]
        parts.append(marker(0, x(result.proven_at), y(at), "dot arm0", f"proven after {result.proven_at} steps"))
    summary = f"Largest wealth 10^{number(max(curves[0][1]))} in {count(result.steps, 'step')}; {_outcome(result)}."
    height = _BOTTOM + 60 + 19 * len(curves)
    return drawing(name, _WIDTH, height, "Wealth of the predictors", summary, "".join(parts))


def _decimal(logs: Sequence[float]) -> list[float]:
    """Log10 of wealth that starts at 1, from nats."""
    return [0.0, *(log / math.log(10) for log in logs)]


def _outcome(result: BetResult) -> str:
    level = f"level {result.alpha:g}"
    return f"proof at {level} after {count(result.proven_at, 'step')}" if result.proven_at else f"no proof at {level}"


def _axes(steps: int, ticks: Sequence[float], x: Scale, y: Scale) -> str:
    parts = [upright(14, (_TOP + _BOTTOM) / 2, "wealth, log10 (1 at the start)")]
    for tick in ticks:
        parts.append(line(_LEFT, y(tick), _WIDTH - 6, y(tick), "grid"))
        parts.append(label(_LEFT - 6, y(tick) + 4, f"{tick:g}", anchor="end"))
    parts += [label(x(step), _BOTTOM + 17, str(step)) for step in sorted({0, steps // 2, steps})]
    parts.append(label((_LEFT + _WIDTH) / 2, _BOTTOM + 35, "training steps", "axis"))
    return "".join(parts)


def _level(result: BetResult, proof: float, y: Scale) -> str:
    """The line above which wealth is proof."""
    words = f"proof at level {result.alpha:g}"
    bar = line(_LEFT, y(proof), _WIDTH - 6, y(proof), "mean")
    return bar + label(_WIDTH - 10, y(proof) - 6, words, "note strong", "end")


def _curve(index: int, title: str, heights: Sequence[float], x: Scale, y: Scale) -> str:
    stride = max(1, math.ceil(len(heights) / _DRAWN))
    shown = sorted({*range(0, len(heights), stride), len(heights) - 1})
    drawn = path([(x(step), y(heights[step])) for step in shown], f"curve arm{index % 4}")
    low = _BOTTOM + 56 + index * 19
    sample = path([(_LEFT, low - 4), (_LEFT + 34, low - 4)], f"curve arm{index % 4}")
    return drawn + sample + label(_LEFT + 44, low, title, "value", "start")
