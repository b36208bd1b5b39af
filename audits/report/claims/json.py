"""The verdicts for other programs, versioned: claims.json, and a file for each claim with all that is behind it."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from audits.claims.claim import JudgedClaim
from audits.claims.figures import Curves, DotColumn, Figure
from audits.claims.judged import Report
from audits.claims.provenance import Origin, provenance, reproduce
from audits.jsonable import json_text
from audits.report.claims import prose
from audits.report.claims.marks import outcome
from audits.report.claims.schema import (
    INDEX_SCHEMA,
    PAGE_SCHEMA,
    Column,
    DotPoint,
    Dots,
    Entry,
    Index,
    Judged,
    Page,
    Verdict,
)


def claims_json(report: Report) -> str:
    """The index, claims in the order given."""
    entries = tuple(map(_entry, report.judged))
    return json_text(msgspec.to_builtins(Index(schema_file=INDEX_SCHEMA, schema=1, claims=entries)))


def page_json(report: Report, item: JudgedClaim) -> str:
    """One claim with figures, tables, seeds and provenance."""
    claim = item.claim
    page = Page(
        schema_file=PAGE_SCHEMA,
        schema=1,
        corrected=report.corrected.get(claim.id),
        test=claim.test,
        refuted_by=claim.refuted_by,
        needs=claim.needs,
        tiers=tuple(_judged(report, at) for at in item.at_every_tier),
        **_published(item),
    )
    return json_text(msgspec.to_builtins(page))


def page_path(identity: str) -> str:
    """Where the pages of a claim lie below `reports/`, without ending."""
    return f"claims/{identity}"


class _Listed(msgspec.Struct, frozen=True):
    id: Annotated[str, msgspec.Meta(pattern="^[a-z0-9-]+$")]


class _Listing(msgspec.Struct, frozen=True):
    claims: tuple[_Listed, ...]


def listed_ids(text: bytes) -> tuple[str, ...]:
    """The claims that a file claims.json of any release lists; none where it is no such file."""
    try:
        return tuple(claim.id for claim in msgspec.json.decode(text, type=_Listing).claims)
    except msgspec.MsgspecError:
        return ()


def _entry(item: JudgedClaim) -> Entry:
    lower = tuple(Verdict(**_verdict(other)) for other in item.others)
    page = f"{page_path(item.claim.id)}.json"
    return Entry(page=page, lower_tiers=lower, **_published(item), **_verdict(item), **_runs(item))


def _published(item: JudgedClaim) -> dict[str, Any]:
    claim = item.claim
    named = {"id": claim.id, "kind": claim.kind, "statement": claim.statement, "source": claim.source}
    return named | {"published": dict(claim.published)}


def _verdict(item: JudgedClaim) -> dict[str, Any]:
    own = {field: getattr(item, field) for field in ("tier", "expected", "as_expected", "scope")}
    own["outcome"] = outcome(item).word
    return own | {field: getattr(item.judgement, field) for field in Verdict.__struct_fields__ if field not in own}


def _runs(item: JudgedClaim) -> dict[str, Any]:
    return {"evidence": item.judgement.evidence, "stale": item.stale}


def _judged(report: Report, item: JudgedClaim) -> Judged:
    judgement = item.judgement
    return Judged(
        details=judgement.details,
        limits=prose.limits_of(item),
        p=judgement.p,
        provenance=msgspec.convert(provenance(report, item), Origin, from_attributes=True),
        reproduce=reproduce(item),
        figures=tuple(map(figure_entry, judgement.figures)),
        tables=judgement.tables,
        **_verdict(item),
        **_runs(item),
    )


def figure_entry(figure: Figure) -> Dots | Curves:
    """A figure as the file holds it: points of a column by name."""
    if isinstance(figure, Curves):
        return figure
    return Dots(**msgspec.structs.asdict(figure) | {"columns": tuple(map(_column, figure.columns))})


def _column(arm: DotColumn) -> Column:
    points = tuple(DotPoint(seed=seed, value=value) for seed, value in arm.points)
    return Column(label=arm.label, style=arm.style, points=points, failed=arm.failed)
