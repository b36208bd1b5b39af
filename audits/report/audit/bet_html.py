"""One test by betting as a self-contained page: the outcome in words, the wealth as a figure, what it proves."""

from __future__ import annotations

from audits.betting import BetResult, BetVerdict, explain
from audits.formatting import MISSING, Table, number
from audits.report.audit.wealth import wealth_plot
from audits.report.render.escape import markup
from audits.report.render.marks import Mark
from audits.report.render.page import definitions, limits, page, paragraph, section, table, verdict_head, wide_figure

_CAPTION = (
    "The copy bets on each next token and is then trained on it. Against random tokens the wealth of a model that does "
    "not see its future keeps its mean of 1, however the model is trained; it ever crosses the line with at most the "
    "probability of the level."
)
_LIMITS = (
    "A proof holds for the trained copy: the architecture leaks, for these weights or for weights a few steps away.",
    "No proof is not a PASS: the predictor may not have learnt to use a leak. The probes of `model` test for one.",
)


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
    """What each achieved."""
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
    """Settings and environment as text."""
    pairs = [*sorted(result.settings.items()), *sorted(result.environment.items())]
    return [(key, markup(str(value)) or "-") for key, value in pairs]
