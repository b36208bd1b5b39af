"""The page of one claim: the outcome and why, its figures, its test, its evidence, and how to repeat it."""

from __future__ import annotations

from audits.claims.claim import JudgedClaim
from audits.claims.judged import Report
from audits.claims.provenance import facts, provenance, reproduce, runs_table
from audits.report.claims import prose, tables
from audits.report.claims.json import page_path
from audits.report.claims.marks import flags, outcome, tier_word
from audits.report.claims.supplements import supplements
from audits.report.render.document import Document, Picture, Section, figure_picture


def claim_document(report: Report, item: JudgedClaim) -> Document:
    """Everything known of one claim, what a reader needs first in front."""
    claim, judgement = item.claim, item.judgement
    found = Section(facts=_found(report, item))
    tables_with_rows = tuple(table for table in judgement.tables if table.rows)
    shown = Section("Figures and numbers", pictures=_pictures(item), tables=tables_with_rows)
    sections = (
        found,
        shown,
        *_lower_tiers(item),
        *supplements(report, claim.id),
        _test(item),
        *_evidence(report, item),
    )
    return Document(
        path=page_path(claim.id),
        title=claim.statement,
        lead=(judgement.reason,),
        sections=tuple(section for section in sections if section.shows),
        mark=outcome(item),
        badges=(str(item.scope), str(claim.kind), claim.id, f"{judgement.verdict}, {tier_word(item.tier)}"),
        flags=flags(item),
    )


def _found(report: Report, item: JudgedClaim) -> tuple[tuple[str, str], ...]:
    """What was printed, what was found, and what that does not show."""
    claim, judgement = item.claim, item.judgement
    printed = "; ".join(f"{name}: {value}" for name, value in claim.published.items())
    pairs = (
        ("Printed", printed),
        ("Ours", judgement.ours),
        ("Source", claim.source),
        ("Details", judgement.details),
        ("Power", tables.detectable_text(judgement) or ""),
        ("Over all claims", tables.corrected_text(report, item) or ""),
        ("Limits", " ".join(prose.limits_of(item))),
        ("Would change the verdict", judgement.would_change),
    )
    return tuple((name, text) for name, text in pairs if text)


def _pictures(item: JudgedClaim, tier: str = "") -> tuple[Picture, ...]:
    stem = f"{item.claim.id}{tier}"
    drawn = (figure_picture(f"{stem}-{n}", figure) for n, figure in enumerate(item.judgement.figures, 1))
    return tuple(picture for picture in drawn if picture.svg or (picture.numbers and picture.numbers.rows))


def _lower_tiers(item: JudgedClaim) -> list[Section]:
    """The verdicts at all tiers in one table, and the figures of the lower ones."""
    if not item.others:
        return []
    drawn = tuple(picture for other in item.others for picture in _pictures(other, f"-{other.tier}"))
    return [Section("At every tier", tables=(tables.tiers_table(item),)), Section("At lower tiers", pictures=drawn)]


def _test(item: JudgedClaim) -> Section:
    """What was fixed before a run was judged, and how to repeat it."""
    claim = item.claim
    fixed = (
        ("Test", claim.test),
        ("Refuted by", claim.refuted_by),
        ("Expected", str(item.expected or "not reviewed yet")),
        ("Experiments", tables.needs_text(item)),
    )
    return Section("The test, fixed beforehand", facts=fixed, command=reproduce(item))


def _evidence(report: Report, item: JudgedClaim) -> list[Section]:
    """Where the verdict comes from, run by run."""
    origin = provenance(report, item)
    if not origin.runs:
        return [Section("Evidence", ("No run of ours entered this verdict.",))]
    return [Section("Evidence", facts=facts(origin), folded=(runs_table(report, item),))]
