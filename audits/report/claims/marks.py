"""The words in which people read a verdict, and what needs attention about it."""

from __future__ import annotations

from collections.abc import Iterable

from audits.claims.claim import PRINTED, ClaimVerdict, JudgedClaim, Kind
from audits.claims.judged import Report
from audits.formatting import count
from audits.report.render.marks import Mark

_OPEN = Mark("○", "open", "neutral")
_OUTCOMES = {
    (ClaimVerdict.SUPPORTED, Kind.PUBLISHED): Mark("✓", "reproduced", "pass"),
    (ClaimVerdict.SUPPORTED, Kind.ATTACK): Mark("✓", "succeeded", "pass"),
    (ClaimVerdict.SUPPORTED, Kind.SELF_TEST): Mark("✓", "holds", "pass"),
    (ClaimVerdict.REFUTED, Kind.PUBLISHED): Mark("✗", "not reproduced", "differs"),
    (ClaimVerdict.REFUTED, Kind.ATTACK): Mark("✗", "failed", "differs"),
    (ClaimVerdict.REFUTED, Kind.SELF_TEST): Mark("✗", "fails", "fail"),
    **{(ClaimVerdict.ERROR, kind): Mark("!", "error", "error") for kind in Kind},
}
_ORDER = ("error", "fails", "not reproduced", "failed", "reproduced", "succeeded", "holds", "open", "not testable")
KINDS = {Kind.PUBLISHED: "published claim", Kind.ATTACK: "attack", Kind.SELF_TEST: "self-test"}


def outcome(item: JudgedClaim) -> Mark:
    """What became of a claim, in the words of its kind; one whose runs have not been made is open."""
    kind, verdict = item.claim.kind, item.judgement.verdict
    if verdict is ClaimVerdict.NOT_TESTABLE and kind is Kind.PUBLISHED and not item.judgement.missing:
        return Mark("-", "not testable", "neutral")
    return _OUTCOMES.get((verdict, kind), _OPEN)


def by_outcome(items: Iterable[JudgedClaim]) -> tuple[JudgedClaim, ...]:
    """Errors first, then what was not reproduced, what was, what is open; in the order given within these."""
    return tuple(sorted(items, key=lambda item: _ORDER.index(outcome(item).word)))


def tally(items: Iterable[JudgedClaim]) -> str:
    """How many claims have each outcome: "2 not reproduced, 1 reproduced, 3 open"."""
    words = [outcome(item).word for item in by_outcome(items)]
    return ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words))


def tally_of(report: Report, kind: Kind) -> str:
    """The tally of a kind with its number: "35 published claims: 1 reproduced, 34 open"; empty where there is none."""
    items = tuple(item for item in report.judged if item.claim.kind is kind)
    return f"{count(len(items), KINDS[kind])}: {tally(items)}" if items else ""


def flags(judged: JudgedClaim) -> tuple[Mark, ...]:
    """What needs attention about a claim, lower tiers included; empty when all is in order."""
    return tuple(
        mark if item is judged else Mark(mark.symbol, f"tier {item.tier}: {mark.word}", mark.tone)
        for item in judged.at_every_tier
        for mark in _flags_at_tier(item)
    )


def _flags_at_tier(judged: JudgedClaim) -> tuple[Mark, ...]:
    """What needs attention about a judgement at its own tier, each in one short sentence; red is what fails the job."""
    found = [Mark("!", "causality gate failed", "fail")] if judged.gate_failed else []
    if judged.stale:
        found.append(Mark("!", "stale: code has changed since its runs", "stale"))
    elif judged.expected is None and not judged.judgement.missing:
        found.append(Mark("!", "verdict not reviewed yet: no entry in the expectations file", "fail"))
    elif not judged.as_expected:
        found.append(Mark("!", f"not as expected: the expectations file says {judged.expected}", "fail"))
    return tuple(found)


def tier_word(tier: str) -> str:
    """The tier in words: "tier full", or that printed numbers alone were judged."""
    return "printed numbers" if tier == PRINTED else f"tier {tier}"
