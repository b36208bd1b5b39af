"""junit.xml: one test case a claim, for continuous integration."""

from __future__ import annotations

from audits.claims.claim import ClaimVerdict, JudgedClaim
from audits.claims.judged import Report
from audits.claims.provenance import listed
from audits.report.claims.marks import flags
from audits.report.render.junit import Case, Outcome, junit_document

_UNDECIDED = (ClaimVerdict.INCONCLUSIVE, ClaimVerdict.NOT_TESTABLE)


def outcome(item: JudgedClaim) -> Outcome:
    """ERROR is an error, a failed gate or an unexpected verdict a failure, at any tier.

    What stays open, and what rests on stale or missing evidence, is skipped: it is never silently green.
    """
    if any(at.judgement.verdict is ClaimVerdict.ERROR for at in item.at_every_tier):
        return Outcome.ERROR
    if item.needs_attention:
        return Outcome.FAILURE
    judgement = item.judgement
    skipped = item.stale or judgement.missing or judgement.verdict in _UNDECIDED
    return Outcome.SKIPPED if skipped else Outcome.PASSED


def junit(report: Report) -> str:
    """The document; it holds no times, so the same evidence gives the same bytes."""
    return junit_document("claims", [_case(item) for item in report.judged])


def _case(item: JudgedClaim) -> Case:
    end, verdict, reason = outcome(item), str(item.judgement.verdict), item.judgement.reason
    parts = [verdict, *(flag.word for flag in flags(item))]
    parts += [f"runs {listed(item.stale)}"] if item.stale else []
    parts += [reason] if end is Outcome.SKIPPED else []
    return Case(item.claim.id, end, "; ".join(parts), kind=verdict, text=reason)
