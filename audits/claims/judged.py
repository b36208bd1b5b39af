"""What a report is made of: the judged claims and the evidence they read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from audits.claims.claim import Claim, JudgedClaim, Kind, judge_all
from audits.claims.registry import all_claims
from audits.evidence.ledger import Evidence, is_fresh
from audits.evidence.succession import accepted
from audits.experiments.registry import todays_code
from audits.statistics.multiplicity import Adjusted, holm

NO_RUN = "not verified: no run yet"


@dataclass(frozen=True)
class Report:
    """Everything a renderer may read; renderers are pure functions of it."""

    judged: tuple[JudgedClaim, ...]
    evidence: Evidence
    stale: frozenset[str] = frozenset()  # addresses of the runs that today's code did not make
    codes: Mapping[str, str] = field(default_factory=dict)  # today's code hash of each experiment

    @property
    def unexpected(self) -> tuple[JudgedClaim, ...]:
        """Claims whose verdict is not the reviewed one, or whose causality gate failed."""
        return tuple(item for item in self.judged if item.needs_attention)

    @cached_property
    def corrected(self) -> Mapping[str, Adjusted]:
        """By claim, the deciding p value corrected by Holm over the paper's claims; those without one count as 1."""
        published = [item for item in self.judged if item.claim.kind is Kind.PUBLISHED]
        known = {item.claim.id: item.judgement.p for item in published if item.judgement.p is not None}
        return dict(zip(known, holm(list(known.values()), len(published)), strict=True)) if known else {}

    @cached_property
    def cited(self) -> frozenset[str]:
        """The hashes of all runs that decided a claim."""
        return frozenset(
            run for item in self.judged for judged in item.at_every_tier for run in judged.judgement.evidence
        )


def report_of(evidence: Evidence, claims: tuple[Claim, ...] | None = None) -> Report:
    """The report of a ledger: a pure function of its records, the claims (by default all), and today's code."""
    today = todays_code()
    codes = accepted(evidence, today)
    latest = evidence.latest_per_question(codes)
    stale = frozenset(record.run for record in latest.records if not is_fresh(record, codes))
    return Report(judge_all(all_claims() if claims is None else claims, evidence, codes), latest, stale, today)
