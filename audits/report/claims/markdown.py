"""claims.md: the same report for a terminal, a diff, a code host, and a job's summary page as far as it has room."""

from __future__ import annotations

from audits.claims.claim import JudgedClaim
from audits.claims.figures import Figure
from audits.claims.hubrouter._figures import flops_curves, perplexity_dots, time_curves
from audits.claims.judged import Report
from audits.claims.provenance import facts as provenance_facts
from audits.claims.provenance import provenance, reproduce
from audits.claims.tool import _peers as peers
from audits.claims.views import kill_matrix, layer_costs, leak_worth, selection_attack
from audits.report.bench.markdown import bench_parts
from audits.report.claims import prose, tables
from audits.report.claims.marks import claim_mark, flags, tally_text, tier_word
from audits.report.render import words
from audits.report.render.escape import code
from audits.report.render.escape import markdown as text
from audits.report.render.figures import figure_note, figure_table
from audits.report.render.markdown_parts import bullets, facts, grid, table

LIMIT = 1024 * 1024  # bytes that GitHub shows of one step's summary; a larger one is not shown at all
_SHORTER = "The whole report is in `claims.md` and `claims.html` among the reports; it is too long for this page."


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
        f"**{text(tally_text(report))}.** {text(prose.expectation_sentence(report))}",
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


def summary(report: Report) -> str:
    """One row a claim."""
    if not report.judged:
        return "No claim has been judged yet."
    rows = []
    for item in report.in_reading_order:
        link = f"[{code(item.claim.id)}](#{item.claim.id})"
        mark = f"**{text(claim_mark(item.judgement.verdict).text)}**" + (" **(stale)**" if item.stale else "")
        notes = "".join(f" **! {text(flag)}**" for flag in flags(item))
        rows.append([mark, tier_word(item.tier), link, text(item.claim.statement), text(item.judgement.reason) + notes])
    return grid(["verdict", "tier", "claim", "statement", "reason"], rows)


def claim(report: Report, item: JudgedClaim) -> list[str]:
    """The section of one claim; its heading is its id alone, so that the summary can link to it."""
    every = [*item.judgement.figures, *(figure for other in item.others for figure in other.judgement.figures)]
    return [
        f"### {item.claim.id}",
        f"> {text(item.claim.statement)}",
        facts(_facts(report, item)),
        *map(_figure, every),
        *map(table, item.judgement.tables),
        *([table(tables.tiers_table(item))] if item.others else []),
    ]


def _facts(report: Report, item: JudgedClaim) -> list[tuple[str, str]]:
    published, judgement, verdict = item.claim, item.judgement, item.judgement.verdict
    origin = provenance(report, item)
    return [
        ("Verdict", f"{text(claim_mark(verdict).text)}, {code(verdict)}, {tier_word(item.tier)}"),
        ("Kind and scope", f"{published.kind}, {item.scope}"),
        ("Attention", text("; ".join(flags(item)))),
        ("Published numbers", text("; ".join(f"{k}: {v}" for k, v in published.published.items())) or "none"),
        ("Reason", text(judgement.reason)),
        ("Details", text(judgement.details)),
        ("Power", text(tables.detectable_text(judgement) or "")),
        ("Over all claims", text(tables.corrected_text(report, item) or "")),
        ("Limits", text(" ".join(prose.limits_of(item)))),
        ("Source", text(published.source)),
        ("Test fixed beforehand", text(published.test)),
        ("Refuted by", text(published.refuted_by)),
        ("What would change the verdict", text(judgement.would_change)),
        ("Experiments", text(tables.needs_text(item))),
        *((name, text(value)) for name, value in provenance_facts(origin)),
        ("To reproduce", code(reproduce(item))),
        ("Evidence", ", ".join(code(run) for run in origin.runs) or "none"),
    ]


def _figure(figure: Figure) -> str:
    note = figure_note(figure)
    return table(figure_table(figure)) + (f"\n\n*{text(note)}*" if note else "")


def step_summary(report: Report, room: int = LIMIT) -> str:
    """The longest form that fits.

    Args:
        report: what is shown.
        room: bytes that are left on the page.
    """
    forms = (markdown, _table, _verdicts)
    fitting = (written for written in (form(report) for form in forms) if len(written.encode()) <= room)
    return next(fitting, "")


def _table(report: Report) -> str:
    """The outcome and a row a claim."""
    return joined([*head(report), _SHORTER, summary(report).replace("](#", "](claims.md#")])


def _verdicts(report: Report) -> str:
    rows = [[code(item.claim.id), text(claim_mark(item.judgement.verdict).text)] for item in report.in_reading_order]
    return joined([*head(report)[:3], _SHORTER, grid(["claim", "verdict"], rows)])
