"""claims.json: the verdicts for other programs, versioned; `claims_schema` says what each entry may hold."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from audits.claims.claim import JudgedClaim
from audits.jsonable import json_text
from audits.report.claims import prose
from audits.report.claims.document import Report
from audits.report.claims.marks import claim_mark
from audits.report.claims.provenance import provenance, reproduce
from audits.report.claims.schema import FILE_NAME
from audits.report.render.figures import figure_data
from audits.results import SCHEMA


def claims_json(report: Report) -> str:
    """The document, claims in the order given."""
    claims = [_claim(report, item) for item in report.judged]
    return json_text({"$schema": FILE_NAME, "schema": SCHEMA, "claims": claims})


def _claim(report: Report, item: JudgedClaim) -> dict[str, Any]:
    """One claim: what was published, then the verdict that stands first, then that of every tier."""
    claim = item.claim
    return {
        "id": claim.id,
        "statement": claim.statement,
        "source": claim.source,
        "published": dict(claim.published),
        "corrected": None if (found := report.corrected.get(claim.id)) is None else asdict(found),
        "test": claim.test,
        "refuted_by": claim.refuted_by,
        "needs": list(claim.needs),
        **_at_tier(report, item),
        "tiers": [_at_tier(report, at) for at in item.at_every_tier],
    }


def _at_tier(report: Report, item: JudgedClaim) -> dict[str, Any]:
    """The judgement at one tier; `expected` is null where nobody reviewed it yet."""
    judgement = item.judgement
    return {
        "tier": item.tier,
        "verdict": str(judgement.verdict),
        "mark": claim_mark(judgement.verdict).word,
        "expected": None if item.expected is None else str(item.expected),
        "as_expected": item.as_expected,
        "gate": judgement.gate,
        "missing": judgement.missing,
        "stale": list(item.stale),
        "reason": judgement.reason,
        "would_change": judgement.would_change,
        "limits": list(prose.limits_of(item)),
        "minimum_detectable_effect": judgement.minimum_detectable_effect,
        "seeds_needed": judgement.seeds_needed,
        "p": judgement.p,
        "evidence": list(judgement.evidence),
        "provenance": _provenance(report, item),
        "reproduce": reproduce(item),
        "figures": [figure_data(figure) for figure in judgement.figures],
        "tables": [asdict(table) for table in judgement.tables],
    }


def _provenance(report: Report, item: JudgedClaim) -> dict[str, Any]:
    """Where the verdict comes from, without what stands beside it already."""
    told = asdict(provenance(report, item))
    return {key: value for key, value in told.items() if key not in ("runs", "stale")}
