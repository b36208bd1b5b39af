"""claims.html: one self-contained page, the outcome, the claims, what was measured, the method and its limits."""

from __future__ import annotations

from audits.claims.judged import Report
from audits.claims.tool import _peers as peers
from audits.report.bench.html import bench_section
from audits.report.claims import prose
from audits.report.claims.html_claims import claim_section, claims_table
from audits.report.claims.html_figures import attack_section, cost_section, kill_section, peers_section, worth_section
from audits.report.claims.marks import claim_mark, tally_text
from audits.report.render import words
from audits.report.render.escape import markup
from audits.report.render.page import attention, bullets, limits, packaged, page, paragraph, section

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
    """How many claims have each verdict."""
    tiles = []
    for verdict, amount in report.tally():
        mark = claim_mark(verdict)
        tiles.append(f'<li class="tone-{mark.tone}"><b>{amount}</b><span>{markup(mark.text)}</span></li>')
    return f'<ul class="tally" aria-label="{markup(tally_text(report))}">{"".join(tiles)}</ul>' if tiles else ""


def _foot(report: Report) -> str:
    """Where the page comes from."""
    return (
        f"{tally_text(report)}. Rebuilt from the evidence ledger alone: "
        "the same evidence gives the same page, byte for byte."
    )
