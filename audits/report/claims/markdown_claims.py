"""The claims in Markdown: the summary, and everything known of each."""

from __future__ import annotations

from audits.claims.claim import JudgedClaim
from audits.claims.figures import Figure
from audits.report.claims import prose, tables
from audits.report.claims.document import Report
from audits.report.claims.marks import claim_mark, flags, tier_word
from audits.report.claims.provenance import facts as provenance_facts
from audits.report.claims.provenance import provenance, reproduce
from audits.report.render.escape import code
from audits.report.render.escape import markdown as text
from audits.report.render.figures import figure_note, figure_table
from audits.report.render.markdown_parts import facts, grid, table


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
    """The claim's record in words."""
    published, judgement, verdict = item.claim, item.judgement, item.judgement.verdict
    told = provenance(report, item)
    return [
        ("Verdict", f"{text(claim_mark(verdict).text)}, {code(verdict)}, {tier_word(item.tier)}"),
        ("Attention", text("; ".join(flags(item)))),
        ("Published numbers", text("; ".join(f"{k}: {v}" for k, v in published.published.items())) or "none"),
        ("Reason", text(judgement.reason)),
        ("Power", text(tables.detectable_text(judgement) or "")),
        ("Over all claims", text(tables.corrected_text(report, item) or "")),
        ("Limits", text(" ".join(prose.limits_of(item)))),
        ("Source", text(published.source)),
        ("Test fixed beforehand", text(published.test)),
        ("Refuted by", text(published.refuted_by)),
        ("What would change the verdict", text(judgement.would_change)),
        ("Experiments", text(tables.needs_text(item))),
        *((name, text(value)) for name, value in provenance_facts(told)),
        ("To reproduce", code(reproduce(item))),
        ("Evidence", ", ".join(code(run) for run in told.runs) or "none"),
    ]


def _figure(figure: Figure) -> str:
    """The numbers of a figure, and how the drawing is read."""
    note = figure_note(figure)
    return table(figure_table(figure)) + (f"\n\n*{text(note)}*" if note else "")
