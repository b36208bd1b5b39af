"""The claim about betting: a rate above its level refutes, one that is not pinned down leaves it open."""

from typing import Any

import pytest

from audits.claims.claim import ClaimVerdict
from audits.claims.tool import betting_level
from audits.evidence.ledger import Evidence, Record
from audits.experiments.auditor.betting_study import LEVELS, NAME


def exceeding(part: str, tests: int, share: float, seed: int = 100) -> Record:
    """Tests of causal predictors that exceed each level in this share of what it allows."""
    counts = {f"{level:g}": round(share * level * tests) for level in LEVELS}
    config = {"part": part, "tests": tests} | ({"deviation": 1.0} if part == "coins" else {})
    return Record(NAME, config, seed, {"tests": tests, "exceeded": counts}, {}, 1.0)


def leak(name: str, seed: int, proven_at: int | None, *, flagged: bool = False, **config: Any) -> Record:
    whole = seed == 100
    result: dict[str, Any] = {"leak_class": "dense", "proven_at": proven_at}
    if whole:
        clean = {"proven_at": 7 if flagged else None, "largest": 1200.0 if flagged else 1.5}
        result |= {"bits_per_token": 0.5, "clean": clean}
    config = {"part": "leak", "leak": name, "narrow": False, "frozen": False, "to_the_end": whole, **config}
    return Record(NAME, config, seed, result, {}, 1.0)


def judged(*records: Record) -> Any:
    return betting_level.judge(Evidence(records))


@pytest.mark.parametrize(
    ("coins", "models", "verdict"),
    [
        ((20_000, 0.3), (200, 0.5), ClaimVerdict.SUPPORTED),
        ((20_000, 0.3), (200, 2.0), ClaimVerdict.REFUTED),
        ((20_000, 1.5), (200, 0.5), ClaimVerdict.REFUTED),
        ((2_000, 0.3), (200, 0.5), ClaimVerdict.INCONCLUSIVE),
    ],
)
def test_rates_known_to_lie_above_or_below_their_level_decide(
    coins: tuple[int, float], models: tuple[int, float], verdict: ClaimVerdict
) -> None:
    judgement = judged(exceeding("coins", *coins), exceeding("models", *models))
    assert judgement.verdict is verdict
    assert (judgement.minimum_detectable_effect is not None) == (verdict is ClaimVerdict.INCONCLUSIVE)


def test_certified_controls_refute() -> None:
    honest = (exceeding("coins", 20_000, 0.3), exceeding("models", 200, 0.3))
    leaks = [leak(f"leak {n}", 100, 5, flagged=n < 5) for n in range(50)]
    assert judged(*honest, *leaks).verdict is ClaimVerdict.REFUTED
    assert "clean controls at 0.001, 5/50" in judged(*honest, *leaks).details
    assert judged(*honest, *leaks[5:]).verdict is ClaimVerdict.SUPPORTED


def test_without_models_or_coins_there_is_no_verdict() -> None:
    assert judged().missing
    assert judged(exceeding("coins", 20_000, 0.3), leak("a", 100, 5)).missing


def test_a_leak_is_shown_with_how_often_and_how_fast_it_was_proven() -> None:
    honest = (exceeding("coins", 20_000, 0.3), exceeding("models", 200, 0.3))
    runs = [leak("a", 100, 5), leak("a", 101, 11), leak("a", 102, None), leak("a", 100, 3, narrow=True, frozen=True)]
    table = judged(*honest, *runs).tables[1]
    assert table.rows[0] == ("a", "dense", "2/3", "0.09 to 0.99", "8, 5 to 11", "0.500", "1.5")
    assert table.rows[1][0] == "a, narrow council, frozen router"
