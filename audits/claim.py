"""Claims as typed records: what was published, the test fixed beforehand, and the judgement from evidence."""

from __future__ import annotations

import importlib
import pkgutil
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.resources import files

from audits.ledger import Evidence


class ClaimVerdict(StrEnum):
    """The verdict on a published claim (contract: `Claim verdicts`)."""

    SUPPORTED = "SUPPORTED"
    REFUTED = "REFUTED"
    INCONCLUSIVE = "INCONCLUSIVE"
    NOT_TESTABLE = "NOT_TESTABLE"
    ERROR = "ERROR"


@dataclass(frozen=True)
class Table:
    """A small table that belongs to a judgement; cells are already formatted for reading."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Judgement:
    """A verdict with its reason in one or two sentences, and what would change it.

    `minimum_detectable_effect` (a text with its unit) and `seeds_needed` accompany every INCONCLUSIVE verdict.
    `evidence` holds the ledger hashes of the runs that decided.
    `gate` is False when a model that had to be causal was not: it fails CI and voids perplexity claims.
    `missing` is True where no run has been made yet: shown as not verified, but it contradicts no expectation.
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
    needs: tuple[str, ...] = ()  # names of experiments in audits/claims/experiments


@dataclass(frozen=True)
class JudgedClaim:
    """A claim with its judgement and the verdict the reviewed expectations file holds for it."""

    claim: Claim
    judgement: Judgement
    expected: ClaimVerdict | None
    tier: str

    @property
    def as_expected(self) -> bool:
        """Whether the verdict is the reviewed one, or evidence is missing; a claim nobody reviewed yet is not."""
        return self.expected is not None and (self.judgement.missing or self.judgement.verdict == self.expected)


def all_claims() -> tuple[Claim, ...]:
    """Every claim: one file each in `audits/claims`, in the order of their ids."""
    import audits.claims as package

    names = [module.name for module in pkgutil.iter_modules(package.__path__) if not module.ispkg]
    claims = (importlib.import_module(f"audits.claims.{name}").CLAIM for name in names if not name.startswith("_"))
    return tuple(sorted(claims, key=lambda claim: claim.id))


def expectations() -> Mapping[str, ClaimVerdict]:
    """The reviewed verdict of every claim, from `audits/claims/expected.toml`."""
    text = files("audits.claims").joinpath("expected.toml").read_text(encoding="utf-8")
    return {claim: ClaimVerdict(entry["verdict"]) for claim, entry in tomllib.loads(text).items()}


def judge_all(claims: tuple[Claim, ...], evidence: Evidence, tier: str) -> tuple[JudgedClaim, ...]:
    """Every claim judged; a test that raises is an ERROR with its reason, and does not take the others down."""
    expected = expectations()
    return tuple(JudgedClaim(claim, _judged(claim, evidence), expected.get(claim.id), tier) for claim in claims)


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
        return Judgement(ClaimVerdict.ERROR, reason, "Mending the test, or the evidence it reads.")
