"""A report with one claim of every kind, for tests that look at its pages."""

from __future__ import annotations

from audits.claims.claim import PRINTED, Claim, ClaimVerdict, JudgedClaim, Judgement
from audits.claims.figures import CurvePoint, Curves, DotColumn, DotPoint, Dots, Series
from audits.claims.judged import Report
from audits.evidence.ledger import Evidence, Record
from audits.formatting import Table

ENVIRONMENT = {"cpu": "A processor", "cores": "2", "device": "cpu", "platform": "Linux", "python": "3.11", "torch": "2"}


def _points(*values):
    return tuple(DotPoint(seed, value) for seed, value in enumerate(values))


DOTS = Dots(
    "Perplexity, arm by arm",
    "perplexity",
    (
        DotColumn("clean", "causal", _points(43.1, 42.8, 43.6)),
        DotColumn("leaky", "leaky", _points(1.41, 1.39, 1.4)),
        DotColumn("the same weights, clean mask", "masked", _points(470.0, 510.0), 1),
    ),
    "Lower is better.",
    log=True,
)
CURVES = Curves(
    "Runs that converge",
    "hubs M",
    "share",
    (Series("all", "causal", tuple(CurvePoint(m, k / 5, k / 9, 1.0, f"{k}/5") for m, k in ((4, 3), (8, 5), (20, 2)))),),
    log_x=True,
)


def record(seed: int, arm: str = "clean", *, experiment: str = "demo", commit: str = "0123456789ab") -> Record:
    config = {"arm": arm, "tier": "full"}
    return Record(experiment, config, seed, {}, ENVIRONMENT, 90.0, "c0de", commit, f"2026-01-0{seed + 1}T10:00:00Z")


RUNS = tuple(record(seed) for seed in range(3))
ADDRESSES = tuple(run.run for run in RUNS)


def claim(identity: str, statement: str = "") -> Claim:
    text = statement or f"Statement of {identity}"
    test, refuted = f"Test of {identity}", f"Refutation of {identity}"
    numbers = {"perplexity": "200.2"}
    return Claim(identity, text, "a paper", test, refuted, lambda _: None, numbers, ("demo",))


def at(identity: str, tier: str, verdict: ClaimVerdict, expected: ClaimVerdict | None = None, **fields) -> JudgedClaim:
    stale, others = fields.pop("stale", ()), fields.pop("others", ())
    judgement = Judgement(verdict, f"Reason of {identity} at {tier}", "more seeds", **fields)
    return JudgedClaim(claim(identity), tier, judgement, expected or verdict, stale, others)


def every_kind() -> Report:
    """One claim a verdict, of every tier, one stale, one with figures and two tiers."""
    below = at("gain", "quick", ClaimVerdict.INCONCLUSIVE, figures=(CURVES,), evidence=ADDRESSES[:1])
    table = Table("A table that is wide", tuple(f"heading {n}" for n in range(14)), (("cell of some width",) * 14,))
    power = {"minimum_detectable_effect": "2.1 PPL", "seeds_needed": 9}
    judged = (
        at("gain", "full", ClaimVerdict.SUPPORTED, figures=(DOTS, CURVES), evidence=ADDRESSES, others=(below,)),
        at("old", "quick", ClaimVerdict.REFUTED, evidence=ADDRESSES, stale=ADDRESSES[:2], tables=(table,)),
        at("open", PRINTED, ClaimVerdict.INCONCLUSIVE, **power),
        at("untestable", PRINTED, ClaimVerdict.NOT_TESTABLE),
        at("unrun", "paper", ClaimVerdict.NOT_TESTABLE, missing=True),
    )
    return Report(judged, Evidence(RUNS))
