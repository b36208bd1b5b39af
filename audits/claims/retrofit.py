"""Claim `retrofit`: a negative result without numbers."""

from __future__ import annotations

from audits.claim import Claim, ClaimVerdict, Judgement, Table
from audits.claims._paper import PRINTED_ALONE, SOURCE, percent
from audits.ledger import Evidence
from audits.statistics import Counts, rate_interval

ATTEMPTS = (1, 3, 5, 10, 29, 59)
ONE_SIDED_95 = 0.9  # a two-sided 90 % interval has a one-sided 95 % upper bound


def success_bound(failures: int) -> float:
    """The one-sided 95 % upper bound of the success rate after `failures` attempts that all failed."""
    return rate_interval(Counts(0, failures), ONE_SIDED_95).high


def failures() -> Table:
    """How much a number of failed attempts can say about a method."""
    rows = tuple((str(n), percent(success_bound(n))) for n in ATTEMPTS)
    header = ("independent attempts, all failed", "success rate not excluded, up to")
    return Table("What failed attempts exclude (one-sided 95 %)", header, rows)


def judge(_evidence: Evidence) -> Judgement:
    """Judge from the printed words: no number of attempts, no setting and no perplexity comes with them."""
    few, many = ATTEMPTS[0], ATTEMPTS[-2]
    return Judgement(
        ClaimVerdict.NOT_TESTABLE,
        "The abstract reports a negative case without the model, the schedule, the number of attempts or a perplexity. "
        f"One failed attempt leaves success rates up to {percent(success_bound(few))} open; it takes {many} to bring "
        f"that to {percent(success_bound(many))}. {PRINTED_ALONE}",
        "A named pretrained model, budget and success criterion, tried with several seeds and learning rates; a single "
        "retrofit that recovers the original perplexity within its budget would refute the general claim.",
        tables=(failures(),),
    )


CLAIM = Claim(
    id="retrofit",
    statement="Retrofitting HubRouter into a pretrained model fails (a tested negative case).",
    source=SOURCE,
    test="A pretrained Transformer whose attention is replaced by HubRouter and tuned within a budget fixed "
    "beforehand, several seeds: does any run recover its perplexity? Without numbers: NOT_TESTABLE.",
    refuted_by="One retrofit that recovers the pretrained model's perplexity within its budget.",
    judge=judge,
)
