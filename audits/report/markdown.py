"""claims.md: the same report for a terminal, a diff and a code host."""

from __future__ import annotations

from collections.abc import Sequence

from audits.claim import JudgedClaim, Table
from audits.report import peers, prose, tables
from audits.report.document import Report
from audits.report.escape import code
from audits.report.escape import markdown as text
from audits.report.marks import claim_mark, flags
from audits.report.views import kill_matrix, layer_costs, leak_worth, selection_attack


def markdown(report: Report) -> str:
    """The whole document."""
    parts = [
        f"# {text(prose.TITLE)}: claims",
        f"{text(prose.SUBTITLE)}",
        f"**{text(report.tally_text())}.** {text(prose.expectation_sentence(report))}",
        *map(text, prose.story(report)),
        "## Summary",
        _summary(report),
        "## Claim by claim",
        *(part for item in report.in_reading_order for part in _claim(report, item)),
        "## Measurements",
        *_measurements(report),
        "## Method",
        _bullets(prose.METHOD),
        "## What a PASS does not prove",
        _bullets(prose.LIMITS),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _bullets(sentences: Sequence[str]) -> str:
    """A list."""
    return "\n".join(f"- {text(sentence)}" for sentence in sentences)


def _grid(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are Markdown already."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _table(table: Table) -> str:
    """A titled table."""
    rows = [[text(cell) for cell in row] for row in table.rows]
    return f"**{text(table.title)}**\n\n{_grid([text(cell) for cell in table.header], rows)}"


def _summary(report: Report) -> str:
    """One row a claim."""
    if not report.judged:
        return "No claim has been judged yet."
    rows = []
    for item in report.in_reading_order:
        link = f"[{code(item.claim.id)}](#{item.claim.id})"
        mark = f"**{text(claim_mark(item.judgement.verdict).text)}**"
        notes = "".join(f" **! {text(flag)}**" for flag in flags(item))
        rows.append([mark, link, text(item.claim.statement), text(item.judgement.reason) + notes])
    return _grid(["verdict", "claim", "statement", "reason"], rows)


def _claim(report: Report, item: JudgedClaim) -> list[str]:
    """The section of one claim; its heading is its id alone, so that the summary can link to it."""
    claim, judgement = item.claim, item.judgement
    facts = [
        ("Verdict", f"{text(claim_mark(judgement.verdict).text)}, {code(judgement.verdict)}, tier {code(item.tier)}"),
        *((("Attention", text("; ".join(flags(item)))),) if flags(item) else ()),
        ("Reason", text(judgement.reason)),
        *((("Power", text(detectable)),) if (detectable := tables.detectable_text(judgement)) else ()),
        ("Source", text(claim.source)),
        *(
            (("Published", text("; ".join(f"{k}: {v}" for k, v in claim.published.items()))),)
            if claim.published
            else ()
        ),
        ("Test fixed beforehand", text(claim.test)),
        ("Refuted by", text(claim.refuted_by)),
        ("What would change the verdict", text(judgement.would_change)),
        ("Experiments", text(tables.needs_text(report, claim.needs))),
    ]
    runs = ", ".join(code(run) for run in judgement.evidence) or "none"
    listing = "\n".join(f"- **{name}.** {value}" for name, value in [*facts, ("Evidence", runs)])
    return [f"### {claim.id}", f"> {text(claim.statement)}", listing, *map(_table, judgement.tables)]


def _measurements(report: Report) -> list[str]:
    """The numbers behind the figures of the HTML report."""
    worth, matrix, selection = leak_worth(report), kill_matrix(report), selection_attack(report)
    parts = ["### What a leak is worth"]
    if worth:
        parts += [
            text(prose.setting_text(worth)),
            _table(tables.means_table(worth)),
            _table(tables.perplexity_table(worth)),
        ]
    else:
        parts.append(tables.empty_note("Training runs"))
    parts.append("### A leak without a gradient")
    parts.append(_table(tables.selection_table(selection)) if selection else tables.empty_note("Selection attack"))
    parts.append("### Kill matrix")
    parts.append(_table(tables.kill_table(matrix)) if matrix.twins else tables.empty_note("Kill matrix"))
    parts.append(text(prose.battery_sentence(matrix)))
    return [*filter(None, parts), *_peers(report), *_cost(report)]


def _peers(report: Report) -> list[str]:
    """What another checker finds of the same models, and the time of both."""
    found = peers.peers(report)
    heading = f"### {peers.HEADING}"
    if found is None:
        return [heading, text(peers.NOT_RUN)]
    timed = ["#### Time of both", f"*{prose.TIMING_NOTE}*", _table(peers.time_table(found))] if found.times else []
    verdicts = (peers.class_table(found), peers.twin_table(found))
    return [heading, text(peers.sentence(found)), *map(_table, verdicts), *timed]


def _cost(report: Report) -> list[str]:
    """Counted cost, and measured cost in a section of its own."""
    costs = layer_costs(report)
    if not costs:
        return ["### Cost of a layer", tables.empty_note("Layer cost")]
    counted = [_table(tables.exponent_table(costs)), _table(tables.flops_table(costs))]
    measured = [_table(tables.time_exponent_table(costs)), _table(tables.time_table(costs))]
    heading = "#### Measured on this machine"
    return ["### Cost of a layer", *counted, heading, f"*{prose.TIMING_NOTE}*", *measured]
