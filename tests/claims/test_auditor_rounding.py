"""The claim about rounding: alarms on causal models and leaks that are found decide, each by its interval."""

from __future__ import annotations

import pytest

from audits.claims.claim import ClaimVerdict
from audits.claims.tool.auditor_rounding import CLAIM
from audits.evidence.ledger import Evidence, Record
from audits.experiments.auditor.rounding_rule import NAME, SIZES

DRAWS = 2000


def made(alarms: int, found: int, draws: int = DRAWS) -> Evidence:
    """Causal draws with alarms, and leaks of every size of which as many are found."""
    sizes = {0.0: alarms, **dict.fromkeys(SIZES, found)}
    return Evidence(
        tuple(
            Record(
                NAME,
                {"model": "scan", "kind": "future", "size": size},
                0,
                {"verdicts": {"LEAK": leaks, "PASS": draws - leaks}},
                {},
                1.0,
            )
            for size, leaks in sizes.items()
        )
    )


@pytest.mark.parametrize(
    ("alarms", "found", "verdict"),
    [
        (0, DRAWS, ClaimVerdict.SUPPORTED),
        (10, DRAWS, ClaimVerdict.INCONCLUSIVE),
        (40, DRAWS, ClaimVerdict.REFUTED),
        (0, DRAWS * 9 // 10, ClaimVerdict.REFUTED),
    ],
)
def test_both_rates_decide(alarms: int, found: int, verdict: ClaimVerdict) -> None:
    judgement = CLAIM.judge(made(alarms, found))
    assert judgement.verdict is verdict
    assert judgement.gate is (verdict is not ClaimVerdict.REFUTED)


def test_a_few_draws_show_no_rate() -> None:
    judgement = CLAIM.judge(made(0, 33, draws=33))
    assert judgement.verdict is ClaimVerdict.INCONCLUSIVE
    assert judgement.minimum_detectable_effect is not None


def test_leaks_of_one_size_alone_say_nothing() -> None:
    assert CLAIM.judge(Evidence(made(0, DRAWS).records[:2])).missing
