"""The claims of the page: the table of the first screen, its filters, and one card a claim."""

from __future__ import annotations

from collections.abc import Sequence

from audits.claims.claim import JudgedClaim
from audits.claims.judged import Report
from audits.claims.provenance import facts, provenance, reproduce, runs_table
from audits.report.claims import prose, tables
from audits.report.claims.marks import claim_mark, flags, tier_word
from audits.report.render.escape import markup
from audits.report.render.figures import drawn
from audits.report.render.page import attention, badge, charts, definitions, folded, paragraph, pill, table


def claims_table(report: Report) -> str:
    """The filters and one row a claim, linked to its card."""
    if not report.judged:
        return paragraph("No claim has been judged yet.")
    rows = "".join(_row(item) for item in report.in_reading_order)
    head = "".join(f'<th scope="col">{word}</th>' for word in ("Verdict", "Claim", "Why"))
    caption = '<caption class="unseen">Every claim with its verdict and the reason</caption>'
    grid = f'<table class="claims">{caption}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    return filters(report.in_reading_order) + grid


def _row(item: JudgedClaim) -> str:
    name = markup(item.claim.id)
    link = f'<a class="id" href="#claim-{name}">{name}</a>'
    notes = "".join(f"<br>{attention(flag)}" for flag in flags(item))
    claim, why = link + paragraph(item.claim.statement), markup(item.judgement.reason) + notes
    return f"<tr {traits(item)}><td>{_marks(item)}</td><td>{claim}</td><td>{why}</td></tr>"


def _marks(item: JudgedClaim) -> str:
    """The verdict, its tier, and whether its evidence is stale."""
    stale = '<span class="badge stale">stale</span>' if item.stale else ""
    return pill(claim_mark(item.judgement.verdict)) + badge(tier_word(item.tier)) + stale


def claim_section(report: Report, item: JudgedClaim) -> str:
    """Everything known of one claim, the figures first, what a reader needs less folded away."""
    name = markup(item.claim.id)
    head = f'<h3 id="name-{name}"><code>{name}</code>{_marks(item)}</h3>'
    parts = (
        head,
        f"<blockquote>{markup(item.claim.statement)}</blockquote>",
        "".join(f"<p>{attention(flag)}</p>" for flag in flags(item)),
        _figures(item),
        _facts(report, item),
        "".join(table(content) for content in item.judgement.tables),
        _others(item),
        _test(item),
        _provenance(report, item),
    )
    opening = f'<article class="claim" id="claim-{name}" aria-labelledby="name-{name}" {traits(item)}>'
    return f"{opening}{''.join(parts)}</article>"


def _figures(item: JudgedClaim) -> str:
    shown = enumerate(item.judgement.figures)
    return charts([drawn(f"claim-{item.claim.id}-{item.tier}-{index}", figure) for index, figure in shown])


def _facts(report: Report, item: JudgedClaim) -> str:
    """What was printed, what was found, and what that does not show."""
    claim, judgement = item.claim, item.judgement
    published = "<br>".join(f"{markup(key)}: {markup(value)}" for key, value in claim.published.items())
    return definitions(
        [
            ("Published numbers", published or "none"),
            ("Verdict", markup(f"{judgement.verdict}, {tier_word(item.tier)}; {claim.kind}, {item.scope}")),
            ("Reason", markup(judgement.reason)),
            ("Details", markup(judgement.details)),
            ("Power", markup(tables.detectable_text(judgement) or "")),
            ("Over all claims", markup(tables.corrected_text(report, item) or "")),
            ("Would change the verdict", markup(judgement.would_change)),
            ("Limits", "<br>".join(map(markup, prose.limits_of(item)))),
            ("To reproduce", f"<code>{markup(reproduce(item))}</code>"),
        ]
    )


def _others(item: JudgedClaim) -> str:
    if not item.others:
        return ""
    return table(tables.tiers_table(item)) + "".join(
        folded(f"Figures, {tier_word(other.tier)}", _figures(other)) for other in item.others if other.judgement.figures
    )


def _test(item: JudgedClaim) -> str:
    """What was fixed before a run was judged."""
    claim = item.claim
    details = definitions(
        [
            ("Test", markup(claim.test)),
            ("Refuted by", markup(claim.refuted_by)),
            ("Source", markup(claim.source)),
            ("Expected", markup(item.expected or "not reviewed yet")),
            ("Experiments", markup(tables.needs_text(item))),
        ]
    )
    return folded("The test, fixed beforehand", details)


def _provenance(report: Report, item: JudgedClaim) -> str:
    origin = provenance(report, item)
    if not origin.runs:
        return paragraph("No run of ours entered this verdict.", "soft small")
    listed = definitions([(name, markup(value)) for name, value in facts(origin)])
    stale = f", {len(origin.stale)} stale" if origin.stale else ""
    return folded(
        f"Where it comes from: runs that decided ({len(origin.runs)}{stale})", listed + table(runs_table(report, item))
    )


def traits(item: JudgedClaim) -> str:
    """What a filter reads of a claim, as attributes of its row and of its card."""
    values = {
        "claim": item.claim.id,
        "verdict": str(item.judgement.verdict),
        "tier": item.tier,
        "stale": "yes" if item.stale else "no",
    }
    return " ".join(f'data-{name}="{markup(value)}"' for name, value in values.items())


def filters(judged: Sequence[JudgedClaim]) -> str:
    """The form, hidden until the script shows it; a kind that could not narrow anything is left out."""
    verdicts = {str(i.judgement.verdict): claim_mark(i.judgement.verdict).text for i in judged}
    tones = {str(i.judgement.verdict): claim_mark(i.judgement.verdict).tone for i in judged}
    tiers = {item.tier: tier_word(item.tier).removeprefix("tier ") for item in judged}
    stale = {"yes": "stale", "no": "not stale"} if any(item.stale for item in judged) else {}
    kinds = (
        _chips("verdict", "Verdict", verdicts, tones),
        _chips("tier", "Tier", tiers, {}),
        _chips("stale", "Evidence", stale, {}),
    )
    words = (
        '<div class="words"><label for="filter-words">Text</label>'
        '<input type="search" id="filter-words" name="words" autocomplete="off" placeholder="every word must occur">'
        '<button type="reset">Show all</button><output aria-live="polite"></output></div>'
    )
    opening = (
        f'<form class="filters" id="filters" role="search" aria-label="Filter the claims" data-total="{len(judged)}"'
    )
    return f"{opening} hidden>{''.join(kinds)}{words}</form>"


def _chips(name: str, legend: str, values: dict[str, str], tones: dict[str, str]) -> str:
    """One kind: a chip for each value that occurs."""
    boxes = "".join(
        f'<label class="tone-{tones.get(value, "plain")}">'
        f'<input type="checkbox" name="{name}" value="{markup(value)}">{markup(text)}</label>'
        for value, text in values.items()
    )
    return f"<fieldset><legend>{legend}</legend>{boxes}</fieldset>" if len(values) > 1 else ""
