"""Claims as typed records: what was published, the test fixed beforehand, and the judgement from evidence."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from importlib.resources import files
from typing import Any

from audits.claims.figures import Figure
from audits.evidence.experiment import TIERS
from audits.evidence.ledger import Evidence
from audits.formatting import Table

PRINTED = "printed"  # the tier of a claim that is judged from printed numbers alone


class ClaimVerdict(StrEnum):
    """The verdict on a published claim (contract: `Claim verdicts`)."""

    SUPPORTED = "SUPPORTED"
    REFUTED = "REFUTED"
    INCONCLUSIVE = "INCONCLUSIVE"
    NOT_TESTABLE = "NOT_TESTABLE"
    ERROR = "ERROR"


class Kind(StrEnum):
    """Whose claim it is; SUPPORTED means of an attack that it succeeded."""

    PUBLISHED = "published"
    ATTACK = "attack"
    SELF_TEST = "self-test"


class Scope(StrEnum):
    """How far a verdict reaches."""

    PRINTED = "printed numbers"
    OURS = "our scale"
    PAPER = "paper scale"


@dataclass(frozen=True)
class Judgement:
    """A verdict with its reason in one sentence of at most 25 words, the numbers behind it, and what would change it.

    `minimum_detectable_effect` (a text with its unit) and `seeds_needed` accompany every INCONCLUSIVE verdict.
    `evidence` holds the ledger hashes of the runs that decided.
    `gate` is False when a model that had to be causal was not: it fails CI and voids perplexity claims.
    `missing` is True where no run has been made yet: shown as not verified, but it contradicts no expectation.
    `details` are the numbers and conditions that the reason sums up. `scope` is None where it follows from the tier.
    `p` is the p value that decided, for the correction over all claims; None where no single one did.
    `ours` is our number with its interval and seeds, in at most 8 words; empty where there is none.
    """

    verdict: ClaimVerdict
    reason: str
    would_change: str
    minimum_detectable_effect: str | None = None
    seeds_needed: int | None = None
    evidence: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    gate: bool = True
    missing: bool = False
    details: str = ""
    scope: Scope | None = None
    figures: tuple[Figure, ...] = ()
    ours: str = ""
    p: float | None = None


@dataclass(frozen=True)
class Claim:
    """One published claim, or one attack of ours on a published claim."""

    id: str
    statement: str
    source: str  # paper and section, or "our attack on ..."
    test: str  # the pre-registered test, in words
    refuted_by: str  # the observation that would refute the claim
    judge: Callable[[Evidence], Judgement]
    published: Mapping[str, str] = field(default_factory=dict)  # printed numbers as printed
    needs: tuple[str, ...] = ()  # names of experiments in audits/experiments
    kind: Kind = Kind.PUBLISHED


@dataclass(frozen=True)
class JudgedClaim:
    """A claim with its judgement at one tier, and the verdict the reviewed expectations file holds for it.

    Attributes:
        claim: what is judged.
        tier: of the evidence; "printed" for a claim that needs none.
        judgement: the verdict and its reason.
        expected: the reviewed verdict at this tier; None where nobody reviewed it.
        stale: addresses of deciding runs whose code has changed since.
        others: the same claim at the lower tiers that have evidence of their own.
        may_stay_open: whether INCONCLUSIVE is no surprise either: timing on a busy machine, or three seeds at the edge.
    """

    claim: Claim
    tier: str
    judgement: Judgement
    expected: ClaimVerdict | None
    stale: tuple[str, ...] = ()
    others: tuple[JudgedClaim, ...] = ()
    may_stay_open: bool = False

    @property
    def scope(self) -> Scope:
        """What the verdict is about: the printed numbers, our scale, or the paper's."""
        by_tier = {PRINTED: Scope.PRINTED, "paper": Scope.PAPER}
        return self.judgement.scope or by_tier.get(self.tier, Scope.OURS)

    @property
    def as_expected(self) -> bool:
        """Whether nothing contradicts the reviewed verdict; stale and missing evidence never does."""
        if self.stale or self.judgement.missing:
            return True
        open_still = self.may_stay_open and self.judgement.verdict is ClaimVerdict.INCONCLUSIVE
        return self.expected is not None and (open_still or self.judgement.verdict == self.expected)

    @property
    def gate_failed(self) -> bool:
        """Whether a model that had to be causal was found not to be, by code of today."""
        return not self.judgement.gate and not self.stale

    @property
    def at_every_tier(self) -> tuple[JudgedClaim, ...]:
        """This judgement and those at lower tiers."""
        return (self, *self.others)

    @property
    def needs_attention(self) -> bool:
        """Whether the gate failed or a verdict is not the reviewed one, at any tier."""
        return any(item.gate_failed or not item.as_expected for item in self.at_every_tier)


@dataclass(frozen=True)
class Expected:
    """What a review of a claim's evidence came to: a verdict for each tier, and the tiers at which it may stay open."""

    by_tier: Mapping[str, ClaimVerdict] = field(default_factory=dict)
    may_stay_open: frozenset[str] = frozenset()


def expectations() -> Mapping[str, Expected]:
    """The reviewed verdict of every claim at every tier, from `audits/claims/expected.toml`."""
    text = files("audits.claims").joinpath("expected.toml").read_text(encoding="utf-8")
    return {claim: expected_of(entry) for claim, entry in tomllib.loads(text).items()}


def expected_of(entry: Mapping[str, Any]) -> Expected:
    """An entry of the file: `verdict` holds wherever no tier of its own is named."""
    named = {tier: entry.get(tier, entry.get("verdict")) for tier in (*TIERS, PRINTED)}
    by_tier = {tier: ClaimVerdict(verdict) for tier, verdict in named.items() if verdict is not None}
    return Expected(by_tier, frozenset(entry.get("may_stay_open", ())))


def judge_all(
    claims: tuple[Claim, ...], evidence: Evidence, codes: Mapping[str, Collection[str]]
) -> tuple[JudgedClaim, ...]:
    """Every claim judged at every tier that has evidence of its own; the highest comes first.

    A test that raises is an ERROR with its reason, and does not take the others down.

    Args:
        claims: what is judged.
        evidence: the whole ledger.
        codes: of each experiment the code hashes that count as today's. A claim is judged by fresh records alone
            where they suffice.
    """
    expected = expectations()
    fresh, latest = evidence.fresh(codes).latest_per_question(codes), evidence.latest_per_question(codes)
    runs = frozenset(record.run for record in fresh.records)
    return tuple(_judge_tiers(claim, fresh, runs, latest, expected.get(claim.id, Expected())) for claim in claims)


def _judge_tiers(
    claim: Claim, fresh: Evidence, runs: frozenset[str], latest: Evidence, expected: Expected
) -> JudgedClaim:
    if not claim.needs:
        return JudgedClaim(claim, PRINTED, _judged(claim, Evidence()), expected.by_tier.get(PRINTED))
    kept: list[JudgedClaim] = []
    for tier in TIERS:
        judgement = _judged(claim, fresh.at(tier))
        if judgement.missing:
            judgement = _judged(claim, latest.at(tier))
        stale = tuple(run for run in judgement.evidence if run not in runs)
        reviewed = expected.by_tier.get(tier)
        item = JudgedClaim(claim, tier, judgement, reviewed, stale, may_stay_open=tier in expected.may_stay_open)
        seen_before = any(set(judgement.evidence) == set(other.judgement.evidence) for other in kept)
        if not (judgement.missing or seen_before):
            kept.append(item)
    if not kept:
        tier = PRINTED if claim.kind is Kind.PUBLISHED else TIERS[0]
        return JudgedClaim(claim, tier, _judged(claim, latest.at(TIERS[0])), expected.by_tier.get(tier))
    *others, first = kept
    return replace(first, others=tuple(reversed(others)))


def no_run_yet(what: str) -> Judgement:
    """The judgement on a claim whose evidence nobody has gathered: not verified, which is not a PASS."""
    reason = f"Not verified: no run of {what} yet."
    return Judgement(ClaimVerdict.NOT_TESTABLE, reason, "Evidence: `nox -s audit`.", missing=True)


def _judged(claim: Claim, evidence: Evidence) -> Judgement:
    try:
        return claim.judge(evidence)
    except Exception as problem:
        first = str(problem).strip().splitlines()[:1]
        reason = f"The test itself failed: {type(problem).__name__}: {''.join(first)}"
        return Judgement(ClaimVerdict.ERROR, reason, "Fixing the test, or the evidence it reads.")
