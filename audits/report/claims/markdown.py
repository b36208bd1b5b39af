"""claims.md: the same report for a terminal, a diff and a code host."""

from __future__ import annotations

from audits.report.bench.markdown import bench_parts
from audits.report.claims import peers, prose, tables
from audits.report.claims.cost import flops_curves, time_curves
from audits.report.claims.document import Report
from audits.report.claims.markdown_claims import claim, summary
from audits.report.claims.perplexity import perplexity_dots
from audits.report.claims.views import kill_matrix, layer_costs, leak_worth, selection_attack
from audits.report.render import words
from audits.report.render.escape import markdown as text
from audits.report.render.figures import figure_table
from audits.report.render.markdown_parts import bullets, table


def markdown(report: Report) -> str:
    """The whole document."""
    parts = [
        *head(report),
        "## Summary",
        summary(report),
        "## Claim by claim",
        *(part for item in report.in_reading_order for part in claim(report, item)),
        "## Measurements",
        *_measurements(report),
        "## Method",
        bullets(prose.METHOD),
        f"## {words.NO_PROOF}",
        bullets(words.LIMITS),
    ]
    return joined(parts)


def head(report: Report) -> list[str]:
    """The outcome, before any table."""
    return [
        f"# {text(words.TITLE)}: claims",
        text(prose.SUBTITLE),
        f"**{text(report.tally_text())}.** {text(prose.expectation_sentence(report))}",
        *map(text, prose.story(report)),
    ]


def joined(parts: list[str]) -> str:
    """Paragraphs, empty ones left out."""
    return "\n\n".join(part for part in parts if part) + "\n"


def _measurements(report: Report) -> list[str]:
    """The numbers behind the figures of the HTML report."""
    worth, matrix, selection = leak_worth(report), kill_matrix(report), selection_attack(report)
    parts = ["### What a leak is worth"]
    if worth:
        parts += [
            text(prose.setting_text(worth)),
            table(figure_table(perplexity_dots(worth))),
            table(tables.perplexity_table(worth)),
        ]
    else:
        parts.append(tables.empty_note("Training runs"))
    parts.append("### A leak without a gradient")
    parts.append(table(tables.selection_table(selection)) if selection else tables.empty_note("Selection attack"))
    parts.append("### Kill matrix")
    parts.append(table(tables.kill_table(matrix)) if matrix.leaks else tables.empty_note("Kill matrix"))
    parts.append(text(prose.battery_sentence(matrix)))
    return [*filter(None, parts), *_peers(report), *_cost(report), *bench_parts(report)]


def _peers(report: Report) -> list[str]:
    """What another checker finds of the same models, and the time of both."""
    found = peers.peers(report)
    heading = f"### {peers.HEADING}"
    if found is None:
        return [heading, text(peers.NOT_RUN)]
    timed = ["#### Time of both", f"*{words.TIMING_NOTE}*", table(peers.time_table(found))] if found.timings else []
    verdicts = (peers.class_table(found), peers.leak_table(found))
    return [heading, text(peers.sentence(found)), *map(table, verdicts), *timed]


def _cost(report: Report) -> list[str]:
    """Counted cost, and measured cost in a section of its own."""
    costs = layer_costs(report)
    if not costs:
        return ["### Cost of a layer", tables.empty_note("Layer cost")]
    counted = [table(tables.exponent_table(costs)), table(figure_table(flops_curves(costs)))]
    measured = [table(tables.time_exponent_table(costs)), table(figure_table(time_curves(costs)))]
    heading = "#### Measured on this machine"
    return ["### Cost of a layer", *counted, heading, f"*{words.TIMING_NOTE}*", *measured]
