"""claims.json: the verdicts for other programs, versioned; `schema` says what each entry may hold."""

from __future__ import annotations

import msgspec

from audits.claims.claim import JudgedClaim
from audits.claims.figures import Curves, DotColumn, Figure
from audits.claims.judged import Report
from audits.claims.provenance import Origin, provenance, reproduce
from audits.jsonable import json_text
from audits.report.claims import prose
from audits.report.claims.marks import claim_mark
from audits.report.claims.schema import FILE_NAME, Claim, Column, Document, DotPoint, Dots, Judged


def claims_json(report: Report) -> str:
    """The document, claims in the order given."""
    claims = tuple(_claim(report, item) for item in report.judged)
    return json_text(msgspec.to_builtins(Document(schema_file=FILE_NAME, schema=1, claims=claims)))


def _claim(report: Report, item: JudgedClaim) -> Claim:
    """One claim: what was published, then the verdict that is shown first, then that of every tier."""
    claim, tiers = item.claim, tuple(_judged(report, at) for at in item.at_every_tier)
    return Claim(
        id=claim.id,
        kind=claim.kind,
        statement=claim.statement,
        source=claim.source,
        published=dict(claim.published),
        corrected=report.corrected.get(claim.id),
        test=claim.test,
        refuted_by=claim.refuted_by,
        needs=claim.needs,
        tiers=tiers,
        **msgspec.structs.asdict(tiers[0]),
    )


def _judged(report: Report, item: JudgedClaim) -> Judged:
    judgement = item.judgement
    return Judged(
        tier=item.tier,
        verdict=judgement.verdict,
        mark=claim_mark(judgement.verdict).word,
        expected=item.expected,
        as_expected=item.as_expected,
        gate=judgement.gate,
        missing=judgement.missing,
        stale=item.stale,
        scope=item.scope,
        reason=judgement.reason,
        details=judgement.details,
        would_change=judgement.would_change,
        limits=prose.limits_of(item),
        minimum_detectable_effect=judgement.minimum_detectable_effect,
        seeds_needed=judgement.seeds_needed,
        p=judgement.p,
        evidence=judgement.evidence,
        provenance=msgspec.convert(provenance(report, item), Origin, from_attributes=True),
        reproduce=reproduce(item),
        figures=tuple(map(figure_entry, judgement.figures)),
        tables=judgement.tables,
    )


def figure_entry(figure: Figure) -> Dots | Curves:
    """A figure as the file holds it: points of a column by name."""
    if isinstance(figure, Curves):
        return figure
    return Dots(**msgspec.structs.asdict(figure) | {"columns": tuple(map(_column, figure.columns))})


def _column(arm: DotColumn) -> Column:
    points = tuple(DotPoint(seed=seed, value=value) for seed, value in arm.points)
    return Column(label=arm.label, style=arm.style, points=points, failed=arm.failed)
