"""The verdicts for other programs, versioned: claims.json, and a file for each claim with all that is behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from audits.claims.claim import JudgedClaim
from audits.claims.judged import Report
from audits.claims.provenance import Origin, provenance, reproduce
from audits.jsonable import json_text
from audits.report.claims import prose
from audits.report.claims.marks import outcome
from audits.report.claims.schema import INDEX_SCHEMA, PAGE_SCHEMA, Entry, Index, Judged, Page, Verdict

T = TypeVar("T", Entry, Judged, Page, Verdict)


def claims_json(report: Report) -> str:
    """The index, claims in the order given."""
    entries = tuple(_filled(Entry, report, item) for item in report.judged)
    return json_text(msgspec.to_builtins(Index(schema_file=INDEX_SCHEMA, schema=1, claims=entries)))


def page_json(report: Report, item: JudgedClaim) -> str:
    """One claim with figures, tables, seeds and provenance."""
    return json_text(msgspec.to_builtins(_filled(Page, report, item)))


def page_path(identity: str) -> str:
    """Where the pages of a claim lie below `reports/`, without ending."""
    return f"claims/{identity}"


def _filled(kind: type[T], report: Report, item: JudgedClaim) -> T:
    """The fields of a type by name: made for the file, else of the judged claim, its judgement, or the claim."""
    sources = (item, item.judgement, item.claim)
    return kind(**{
        name: _MADE[name](report, item)
        if name in _MADE
        else next(getattr(source, name) for source in sources if hasattr(source, name))
        for name in kind.__struct_fields__
    })  # fmt: skip


_MADE: Mapping[str, Callable[[Report, JudgedClaim], Any]] = {
    "schema_file": lambda _report, _item: PAGE_SCHEMA,
    "schema": lambda _report, _item: 1,
    "outcome": lambda _report, item: outcome(item).word,
    "page": lambda _report, item: f"{page_path(item.claim.id)}.json",
    "lower_tiers": lambda report, item: tuple(_filled(Verdict, report, other) for other in item.others),
    "tiers": lambda report, item: tuple(_filled(Judged, report, at) for at in item.at_every_tier),
    "corrected": lambda report, item: report.corrected.get(item.claim.id),
    "limits": lambda _report, item: prose.limits_of(item),
    "provenance": lambda report, item: msgspec.convert(provenance(report, item), Origin, from_attributes=True),
    "reproduce": lambda _report, item: reproduce(item),
}
