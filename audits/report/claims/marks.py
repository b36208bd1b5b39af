"""How the verdict on a claim is marked for a reader, and what needs attention about it."""

from __future__ import annotations

from audits.claims.claim import PRINTED, ClaimVerdict, JudgedClaim, Kind
from audits.claims.judged import Report
from audits.formatting import count
from audits.report.render.marks import Mark

# In the order in which a reader needs them: errors, failures, passes, open ones.
_CLAIM_MARKS = {
    ClaimVerdict.ERROR: Mark("!", "ERROR", "error"),
    ClaimVerdict.REFUTED: Mark("✗", "FAIL", "fail"),
    ClaimVerdict.SUPPORTED: Mark("✓", "PASS", "pass"),
    ClaimVerdict.INCONCLUSIVE: Mark("○", "INCONCLUSIVE", "neutral"),
    ClaimVerdict.NOT_TESTABLE: Mark("○", "NOT TESTABLE", "neutral"),
}
_KINDS = {Kind.PUBLISHED: "published claim", Kind.ATTACK: "attack", Kind.SELF_TEST: "self-test"}


def claim_mark(verdict: ClaimVerdict) -> Mark:
    """The mark of a claim's verdict."""
    return _CLAIM_MARKS[verdict]


def tally_text(report: Report) -> str:
    """How many claims of each kind have each verdict: "35 published claims: 1 PASS, 2 FAIL; 9 attacks: 9 PASS"."""
    return "; ".join(_tally_of(report, kind) for kind in Kind if report.tally(kind)) or "0 claims"


def _tally_of(report: Report, kind: Kind) -> str:
    found = report.tally(kind)
    parts = ", ".join(f"{number} {claim_mark(verdict).word}" for verdict, number in found)
    return f"{count(sum(number for _, number in found), _KINDS[kind])}: {parts}"


def flags(judged: JudgedClaim) -> tuple[str, ...]:
    """What needs attention about a claim, lower tiers included; empty when all is in order."""
    below = (f"tier {other.tier}: {flag}" for other in judged.others for flag in flags_at_tier(other))
    return (*flags_at_tier(judged), *below)


def flags_at_tier(judged: JudgedClaim) -> tuple[str, ...]:
    """What needs attention about a judgement at its own tier, each in one short sentence."""
    found = []
    if judged.gate_failed:
        found.append("causality gate failed")
    if judged.stale:
        found.append("stale: code that made its evidence has changed since")
    elif judged.expected is None and not judged.judgement.missing:
        found.append("verdict not reviewed yet: no entry in the expectations file")
    elif not judged.as_expected:
        found.append(f"not as expected: the expectations file says {judged.expected}")
    return tuple(found)


def tier_word(tier: str) -> str:
    """The tier in words: "tier full", or that printed numbers alone were judged."""
    return "printed numbers" if tier == PRINTED else f"tier {tier}"
