"""The claim about mutants: the share found decides, and a model without a fault that is called leaky refutes."""

from __future__ import annotations

import pytest

from audits.claims.claim import ClaimVerdict
from audits.claims.tool.auditor_mutants import CLAIM, LEAST
from audits.evidence.ledger import Evidence, Record
from audits.experiments.auditor.mutants import ARCHITECTURES, MUTANTS, NAME


def made(found: int, missed: int, *, clean: str = "PASS", undetermined: int = 0) -> Evidence:
    verdicts = ["LEAK"] * found + ["PASS"] * missed + ["UNDETERMINED"] * undetermined
    mutants = [{"fault": "next position", "site": "a", "live": {"future": 1.0}, "verdict": v} for v in verdicts]
    halves = (mutants[: len(mutants) // 2], mutants[len(mutants) // 2 :])
    return Evidence(
        tuple(
            Record(NAME, {"name": f"model {i}"}, i, {"clean": clean, "mutants": half}, {}, 1.0)
            for i, half in enumerate(halves)
        )
    )


@pytest.mark.parametrize(
    ("found", "missed", "verdict"),
    [
        (250, 0, ClaimVerdict.SUPPORTED),
        (250, 10, ClaimVerdict.INCONCLUSIVE),
        (200, 50, ClaimVerdict.REFUTED),
    ],
)
def test_the_share_found_decides(found: int, missed: int, verdict: ClaimVerdict) -> None:
    judgement = CLAIM.judge(made(found, missed))
    assert judgement.verdict is verdict
    assert len(judgement.tables[1].rows) == missed


def test_undetermined_is_not_found() -> None:
    assert CLAIM.judge(made(200, 0, undetermined=50)).verdict is ClaimVerdict.REFUTED


def test_a_model_without_a_fault_that_is_called_leaky_refutes() -> None:
    judgement = CLAIM.judge(made(250, 0, clean="LEAK"))
    assert judgement.verdict is ClaimVerdict.REFUTED
    assert "model 0" in judgement.details


def test_too_few_mutants_say_nothing() -> None:
    assert CLAIM.judge(made(LEAST - 1, 0)).missing


def test_the_full_tier_has_the_mutants_and_the_architectures_that_it_needs() -> None:
    assert len(set(ARCHITECTURES)) == len(ARCHITECTURES) >= 60
    assert MUTANTS["full"] * len(ARCHITECTURES) >= LEAST
