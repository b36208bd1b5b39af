"""How a verdict is marked for a reader: a word and a symbol, so that colour is never the only carrier."""

from __future__ import annotations

from dataclasses import dataclass

from audits.claims.claim import PRINTED, ClaimVerdict, JudgedClaim
from audits.results import Verdict


@dataclass(frozen=True)
class Mark:
    """A symbol and a word; `tone` is the class name a renderer may colour by."""

    symbol: str
    word: str
    tone: str

    @property
    def text(self) -> str:
        """Symbol and word together."""
        return f"{self.symbol} {self.word}"


_CLAIM_MARKS = {
    ClaimVerdict.SUPPORTED: Mark("✓", "PASS", "pass"),
    ClaimVerdict.REFUTED: Mark("✗", "FAIL", "fail"),
    ClaimVerdict.INCONCLUSIVE: Mark("○", "INCONCLUSIVE", "neutral"),
    ClaimVerdict.NOT_TESTABLE: Mark("○", "NOT TESTABLE", "neutral"),
    ClaimVerdict.ERROR: Mark("!", "ERROR", "error"),
}

_AUDIT_MARKS = {
    Verdict.PASS: Mark("✓", "PASS", "pass"),
    Verdict.LEAK: Mark("✗", "LEAK", "fail"),
    Verdict.UNDETERMINED: Mark("?", "UNDETERMINED", "neutral"),
}

# The order in which a reader needs them: what broke, what fell, what stands, what stays open.
READING_ORDER = (
    ClaimVerdict.ERROR,
    ClaimVerdict.REFUTED,
    ClaimVerdict.SUPPORTED,
    ClaimVerdict.INCONCLUSIVE,
    ClaimVerdict.NOT_TESTABLE,
)


def claim_mark(verdict: ClaimVerdict) -> Mark:
    """The mark of a claim's verdict."""
    return _CLAIM_MARKS[verdict]


def audit_mark(verdict: str) -> Mark:
    """The mark of an instrument's verdict; a word that is no `Verdict` is shown as it is, with a dash."""
    known = {str(item): mark for item, mark in _AUDIT_MARKS.items()}
    return known.get(verdict, Mark("-", verdict.replace("_", " ") or "not run", "neutral"))


def flags(judged: JudgedClaim) -> tuple[str, ...]:
    """What must not be overlooked about a claim, lower tiers included; empty when all is in order."""
    below = (f"tier {other.tier}: {flag}" for other in judged.others for flag in flags_at_tier(other))
    return (*flags_at_tier(judged), *below)


def flags_at_tier(judged: JudgedClaim) -> tuple[str, ...]:
    """What must not be overlooked about a judgement at its own tier, each in one short sentence."""
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
    """The tier as a reader meets it: "tier full", or that nothing but printed numbers was judged."""
    return "printed numbers" if tier == PRINTED else f"tier {tier}"
