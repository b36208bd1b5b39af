"""claims.html: one self-contained page, the outcome, the claims, what was measured, the method and its limits."""

from __future__ import annotations

from audits.claims.claim import Kind
from audits.claims.hubrouter._figures import flops_curves, perplexity_dots, time_curves
from audits.claims.judged import Report
from audits.claims.tool import _peers as peers
from audits.claims.views import (
    LeakWorth,
    TrainingRun,
    kill_matrix,
    layer_costs,
    leak_worth,
    selection_attack,
)
from audits.report.bench.html import bench_section
from audits.report.claims import prose, tables
from audits.report.claims.html_claims import claim_section, claims_table
from audits.report.claims.kill_matrix import kill_matrix_plot
from audits.report.claims.marks import claim_mark, tally_text
from audits.report.render import words
from audits.report.render.escape import markup
from audits.report.render.figure_influence import influence_map, largest
from audits.report.render.figures import drawn
from audits.report.render.page import (
    attention,
    bullets,
    figure,
    folded,
    limits,
    measured,
    packaged,
    page,
    paragraph,
    section,
    table,
    wide_figure,
)
from audits.report.render.words import TIMING_NOTE

_ANCHORS = (
    ("claims", "Claims"),
    ("each", "Claim by claim"),
    ("worth", "What a leak is worth"),
    ("attack", "A leak without a gradient"),
    ("kill", "Kill matrix"),
    ("peers", peers.HEADING),
    ("cost", "Cost"),
    ("bench", "Bench"),
    ("method", "Method"),
    ("limits", words.NO_PROOF),
)
_MAPS = (("clean", "strictly causal"), ("council", "leaky council"))
_MAP_CAPTION = (
    "Trained weights. Each cell: how much the output at a position (row) changes, in units of the output, when the "
    "token at another position (column) is replaced. Blue, up to the staircase: the past, which a causal model may "
    "use. Orange, beyond it: the future. An empty cell is exactly zero."
)


def html(report: Report) -> str:
    """The whole page."""
    body = (
        section("claims", "The claims", claims_table(report)),
        section("each", "Claim by claim", *(claim_section(report, item) for item in report.in_reading_order)),
        worth_section(report),
        attack_section(report),
        kill_section(report),
        peers_section(report),
        cost_section(report),
        bench_section(report),
        section("method", "Method", bullets(prose.METHOD)),
        limits(words.NO_PROOF, words.LIMITS),
    )
    return page(
        f"{words.TITLE}: claims",
        _head(report),
        "\n".join(body),
        _foot(report),
        packaged(__package__, "claims.js"),
        packaged(__package__, "claims.css"),
    )


def _head(report: Report) -> str:
    """The first screen: the story, the counts, whether all is as expected."""
    worth, auditor = prose.story(report)
    links = "".join(f'<a href="#{name}">{markup(words)}</a>' for name, words in _ANCHORS)
    expected = prose.expectation_sentence(report)
    status = paragraph(expected, "soft") if report.judged and not report.unexpected else f"<p>{attention(expected)}</p>"
    return "\n".join(
        (
            f"<h1>{markup(words.TITLE)}</h1>",
            paragraph(prose.SUBTITLE, "soft"),
            paragraph(worth, "story"),
            paragraph(auditor),
            _tally(report),
            status,
            f'<nav aria-label="On this page">{links}</nav>',
        )
    )


def _tally(report: Report) -> str:
    """How many published claims have each verdict, and the tally of all kinds in words."""
    tiles = []
    for verdict, amount in report.tally(Kind.PUBLISHED):
        mark = claim_mark(verdict)
        tiles.append(f'<li class="tone-{mark.tone}"><b>{amount}</b><span>{markup(mark.text)}</span></li>')
    text = tally_text(report)
    return (f'<ul class="tally" aria-label="{markup(text)}">{"".join(tiles)}</ul>' if tiles else "") + paragraph(
        text, "soft"
    )


def _foot(report: Report) -> str:
    """Where the page comes from."""
    return (
        f"{tally_text(report)}. Rebuilt from the evidence ledger alone: "
        "the same evidence gives the same page, byte for byte."
    )


def worth_section(report: Report) -> str:
    """Influence maps side by side and the paired perplexities."""
    heading, worth = "What a leak is worth", leak_worth(report)
    if worth is None:
        return section("worth", heading, paragraph(tables.empty_note("Training runs")))
    plot = drawn("perplexity", perplexity_dots(worth))
    details = folded("All training runs", table(tables.perplexity_table(worth)))
    setting = paragraph(prose.setting_text(worth), "soft small")
    return section("worth", heading, _maps(worth), plot, details, setting)


def _mapped(worth: LeakWorth) -> list[tuple[str, TrainingRun]]:
    """The runs whose maps are shown: one an arm, of the lowest seed that both arms have a map for."""
    seeds = [{run.seed for run in worth.of(arm) if run.influence} for arm, _ in _MAPS]
    shared = sorted(set.intersection(*seeds)) or sorted(set.union(*seeds))
    found = []
    for arm, caption in _MAPS:
        run = next((run for run in worth.of(arm) if run.influence and run.seed == shared[0]), None)
        found += [(f"{caption} (seed {run.seed})", run)] if run else []
    return found


def _maps(worth: LeakWorth) -> str:
    """The influence maps on one scale."""
    if not any(run.influence for arm, _ in _MAPS for run in worth.of(arm)):
        return paragraph(tables.empty_note("Influence map"))
    shown = _mapped(worth)
    top = max(largest(run.influence) for _, run in shown)
    drawings = [influence_map(f"influence-{run.arm}", caption, run.influence, top) for caption, run in shown]
    return figure(drawings, _MAP_CAPTION)


def attack_section(report: Report) -> str:
    """Gradient against perturbation on the same weights."""
    heading, runs = "A leak without a gradient", selection_attack(report)
    if not runs:
        return section("attack", heading, paragraph(tables.empty_note("Selection attack")))
    hidden = sum(run.gradient == "PASS" and run.perturbation == "LEAK" for run in runs)
    text = (
        f"In {hidden} of {len(runs)} runs the gradient probe passes the very weights in which the perturbation probe "
        "finds a leak. Whether a hard top-k selects a token has derivative zero: a gradient check cannot see that it "
        "was selected because of the future."
    )
    return section("attack", heading, paragraph(text), table(tables.selection_table(runs)))


def kill_section(report: Report) -> str:
    """The kill matrix as a figure and, folded, in words."""
    heading, matrix = "Kill matrix: the auditor audited", kill_matrix(report)
    if not matrix.leaks:
        return section("kill", heading, paragraph(tables.empty_note("Kill matrix")))
    caption = (
        "Each row is a leak planted in a small model, grouped by class; each column a probe. Left half: the leaky "
        "model, where a filled box means seen. Right half: its clean control, where a filled box is a false alarm. "
        "A blank half: the probe does not apply, or was not run."
    )
    plot = wide_figure(kill_matrix_plot("kill-matrix", matrix), caption)
    text = paragraph(prose.kill_sentence(matrix)) + paragraph(prose.battery_sentence(matrix))
    return section("kill", heading, text, plot, folded("The same as a table", table(tables.kill_table(matrix))))


def peers_section(report: Report) -> str:
    """What another checker finds of the same models, and the time of both in a marked box."""
    found = peers.peers(report)
    if found is None:
        return section("peers", peers.HEADING, paragraph(peers.NOT_RUN))
    every = folded("Every planted leak", table(peers.leak_table(found)))
    box = measured(TIMING_NOTE, table(peers.time_table(found)))
    text = paragraph(peers.sentence(found))
    return section("peers", peers.HEADING, text, table(peers.class_table(found)), every, box if found.timings else "")


def cost_section(report: Report) -> str:
    """Counted cost, and measured cost in a marked box."""
    heading, costs = "Cost of a layer", layer_costs(report)
    if not costs:
        return section("cost", heading, paragraph(tables.empty_note("Layer cost")))
    box = measured(TIMING_NOTE, drawn("cost-time", time_curves(costs)), table(tables.time_exponent_table(costs)))
    counted = drawn("cost-flops", flops_curves(costs)) + table(tables.exponent_table(costs))
    return section("cost", heading, counted, box)
