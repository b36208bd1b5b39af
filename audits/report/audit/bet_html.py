"""One bet as a small self-contained page: the outcome in words, the wealth as a figure, what it cannot see."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from audits.betting import BetResult, BetVerdict, explain
from audits.formatting import count, number
from audits.report.render.marks import Mark
from audits.report.render.templates import fragment, page

_FRAME = {"width": 560, "left": 70, "right": 538, "top": 30, "bottom": 300}  # where data are drawn, in pixels
_POINTS = 600  # of a line at most: what lies between two of them is narrower than a pixel


def bet_html(result: BetResult) -> str:
    """The page; a test without proof is never marked as a PASS."""
    proven = result.verdict is BetVerdict.LEAK
    return page(
        "bet.html",
        result=result,
        mark=Mark("✗", "LEAK", "fail") if proven else Mark("?", "NOT PROVEN", "neutral"),
        explanation=explain(result),
        drawing=wealth_plot("wealth", result),
    )


def wealth_plot(name: str, result: BetResult) -> Markup:
    """Log10 of wealth step by step: mean and each predictor's own, the level of proof, and the step of the proof."""
    curves = {"mean wealth": _decimal(result.log_wealth)}
    if len(result.predictors) > 1:
        curves |= {f"{one.alphabet} symbols": _decimal(one.log_wealth) for one in result.predictors}
    mean, level = curves["mean wealth"], -math.log10(result.alpha)
    powers = _powers([level, 0.0, *(height for curve in curves.values() for height in curve)])

    def x(step: int) -> float:
        return round(_FRAME["left"] + step / result.steps * (_FRAME["right"] - _FRAME["left"]), 1)

    def y(height: float) -> float:
        share = (height - powers[0]) / (powers[-1] - powers[0])
        return round(_FRAME["bottom"] - share * (_FRAME["bottom"] - _FRAME["top"]), 1)

    level_text = f"level {result.alpha:g}"
    after = f"proof at {level_text} after {count(result.proven_at, 'step')}" if result.proven_at else ""
    return fragment(
        "wealth.svg",
        name=name,
        frame=_FRAME,
        summary=f"Largest wealth 10^{number(max(mean))} in {count(result.steps, 'step')}; "
        f"{after or f'no proof at {level_text}'}.",
        powers=[(y(power), power) for power in powers],
        steps=[(x(step), step) for step in sorted({0, result.steps // 2, result.steps})],
        level=y(level),
        alpha=f"{result.alpha:g}",
        curves=[
            (title, "M" + "L".join(f"{x(step)} {y(curve[step])}" for step in _drawn(len(curve))))
            for title, curve in curves.items()
        ],
        proof=(x(result.proven_at), y(mean[result.proven_at])) if result.proven_at else None,
        proven_at=result.proven_at,
    )


def _decimal(logs: Sequence[float]) -> list[float]:
    """Log10 of wealth that starts at 1, from nats."""
    return [0.0, *(log / math.log(10) for log in logs)]


def _powers(heights: Sequence[float]) -> range:
    """Whole powers of ten, seven at most, that cover all heights."""
    low, high = math.floor(min(heights)), math.ceil(max(heights))
    step = math.ceil((high - low) / 5)
    return range(low // step * step, -(-high // step) * step + 1, step)


def _drawn(points: int) -> list[int]:
    """The points of a line that are drawn, the last one among them."""
    return sorted({*range(0, points, math.ceil(points / _POINTS)), points - 1})
