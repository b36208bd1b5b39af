"""Claim `throughput-optimised`: an estimate of what a better baseline would leave of the multiplier."""

from __future__ import annotations

from audits.claim import Claim, ClaimVerdict, Judgement, Table
from audits.claims._paper import PRINTED_ALONE, SOURCE
from audits.ledger import Evidence

LOW, HIGH = 10.0, 15.0
UNOPTIMISED = 90.0


def implied_baseline() -> Table:
    """How much faster the optimised baseline is assumed to be; the only thing the printed numbers determine."""
    rows = ((f"{m:.0f}x", f"{UNOPTIMISED / m:.1f}x") for m in (LOW, HIGH))
    return Table(
        "What the estimate assumes (arithmetic on the printed numbers)",
        ("remaining multiplier", "optimised over PyTorch-native baseline"),
        tuple(rows),
    )


def judge(_evidence: Evidence) -> Judgement:
    """Judge from the printed numbers: an estimate carries no measurement to test."""
    return Judgement(
        ClaimVerdict.NOT_TESTABLE,
        f"The {LOW:.0f}-{HIGH:.0f}x is an estimate, not a measurement: it assumes an optimised baseline "
        f"{UNOPTIMISED / HIGH:.0f} to {UNOPTIMISED / LOW:.0f} times faster than the one timed, and the abstract "
        f"reports no such run. {PRINTED_ALONE}",
        "The whole models timed against the named optimised baseline on the named hardware, at several lengths.",
        tables=(implied_baseline(),),
    )


CLAIM = Claim(
    id="throughput-optimised",
    statement=f"Against an optimised baseline the training-throughput multiplier would narrow to about {LOW:.0f}-"
    f"{HIGH:.0f} times.",
    source=SOURCE,
    test=f"Measured training throughput against the optimised baseline at n = 1024: does its interval meet "
    f"{LOW:.0f} to {HIGH:.0f}? Without that measurement: NOT_TESTABLE.",
    refuted_by=f"A measured multiplier whose interval lies wholly outside {LOW:.0f} to {HIGH:.0f}.",
    judge=judge,
    published={"estimated multiplier": f"~{LOW:.0f}-{HIGH:.0f}x", "before optimisation": f"up to ~{UNOPTIMISED:.0f}x"},
)
