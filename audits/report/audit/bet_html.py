"""One bet as a small self-contained page: the outcome in words, the wealth as a figure, what it cannot see."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from audits.betting import BetResult, BetVerdict, explain
from audits.report.render.marks import Mark
from audits.report.render.templates import fragment, page

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
    level, points = -math.log10(result.alpha), result.steps + 1
    return fragment(
        "wealth.svg",
        name=name,
        result=result,
        curves=curves,
        level=level,
        powers=_powers([level, 0.0, *(height for curve in curves.values() for height in curve)]),
        drawn=sorted({*range(0, points, math.ceil(points / _POINTS)), points - 1}),
    )


def _decimal(logs: Sequence[float]) -> list[float]:
    """Log10 of wealth that starts at 1, from nats."""
    return [0.0, *(log / math.log(10) for log in logs)]


def _powers(heights: Sequence[float]) -> range:
    """Whole powers of ten, seven at most, that cover all heights."""
    low, high = math.floor(min(heights)), math.ceil(max(heights))
    step = math.ceil((high - low) / 5)
    return range(low // step * step, -(-high // step) * step + 1, step)
