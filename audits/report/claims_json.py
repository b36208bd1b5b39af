"""claims.json: the verdicts for other programs, versioned."""

from __future__ import annotations

from typing import Any

from audits.claim import JudgedClaim
from audits.report.document import Report
from audits.report.marks import claim_mark
from audits.strict_json import json_text
from audits.verdicts import SCHEMA


def claims_json(report: Report) -> str:
    """The document, claims in the order given."""
    return json_text({"schema": SCHEMA, "claims": [_claim(item) for item in report.judged]})


def _claim(item: JudgedClaim) -> dict[str, Any]:
    """One claim; `expected` is null where nobody reviewed it yet."""
    claim, judgement = item.claim, item.judgement
    return {
        "id": claim.id,
        "statement": claim.statement,
        "source": claim.source,
        "verdict": str(judgement.verdict),
        "mark": claim_mark(judgement.verdict).word,
        "expected": None if item.expected is None else str(item.expected),
        "as_expected": item.as_expected,
        "tier": item.tier,
        "gate": judgement.gate,
        "reason": judgement.reason,
        "would_change": judgement.would_change,
        "minimum_detectable_effect": judgement.minimum_detectable_effect,
        "seeds_needed": judgement.seeds_needed,
        "published": dict(claim.published),
        "evidence": list(judgement.evidence),
    }
