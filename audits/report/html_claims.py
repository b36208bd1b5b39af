"""The claims of the page: the table of the first screen and one section a claim."""

from __future__ import annotations

from audits.claim import JudgedClaim
from audits.report import tables
from audits.report.document import Report
from audits.report.escape import markup
from audits.report.marks import claim_mark, flags
from audits.report.page import attention, definitions, folded, paragraph, pill, table


def claims_table(report: Report) -> str:
    """One row a claim, linked to its section."""
    if not report.judged:
        return paragraph("No claim has been judged yet.")
    rows = "".join(_row(item) for item in report.in_reading_order)
    head = "".join(f'<th scope="col">{word}</th>' for word in ("Verdict", "Claim", "Why"))
    return f'<table class="claims"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def _row(item: JudgedClaim) -> str:
    """Verdict, claim and reason."""
    name = markup(item.claim.id)
    link = f'<a class="id" href="#claim-{name}">{name}</a>'
    notes = "".join(f"<br>{attention(flag)}" for flag in flags(item))
    verdict = pill(claim_mark(item.judgement.verdict))
    claim, why = link + paragraph(item.claim.statement), markup(item.judgement.reason) + notes
    return f"<tr><td>{verdict}</td><td>{claim}</td><td>{why}</td></tr>"


def claim_section(report: Report, item: JudgedClaim) -> str:
    """Everything known of one claim."""
    name = markup(item.claim.id)
    head = f"<h3><code>{name}</code>{pill(claim_mark(item.judgement.verdict))}</h3>"
    statement = f"<blockquote>{markup(item.claim.statement)}</blockquote>"
    shown = "".join(table(content) for content in item.judgement.tables)
    content = statement + _facts(report, item) + shown + _evidence(report, item)
    return f'<article class="claim" id="claim-{name}">{head}{content}</article>'


def _facts(report: Report, item: JudgedClaim) -> str:
    """The claim's record in words."""
    claim, judgement = item.claim, item.judgement
    published = "<br>".join(f"{markup(key)}: {markup(value)}" for key, value in claim.published.items())
    return definitions(
        [
            ("Verdict", f"{markup(judgement.verdict)}, tier {markup(item.tier)}"),
            ("Attention", "<br>".join(map(attention, flags(item)))),
            ("Reason", markup(judgement.reason)),
            ("Power", markup(tables.detectable_text(judgement) or "")),
            ("Source", markup(claim.source)),
            ("Published numbers", published or "none"),
            ("Test fixed beforehand", markup(claim.test)),
            ("Refuted by", markup(claim.refuted_by)),
            ("Would change the verdict", markup(judgement.would_change)),
            ("Experiments", markup(tables.needs_text(report, claim.needs))),
        ]
    )


def _evidence(report: Report, item: JudgedClaim) -> str:
    """The runs that decided, folded away."""
    runs = item.judgement.evidence
    if not runs:
        return paragraph("No run of ours entered this verdict.", "soft small")
    return folded(f"Runs that decided ({len(runs)})", table(tables.evidence_table(report, item.judgement)))
