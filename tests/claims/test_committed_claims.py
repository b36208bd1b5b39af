"""The committed verdicts: every claim has kind, scope, one short sentence, and what would change it."""

import json
from pathlib import Path

import pytest

from audits.claims.claim import Kind, Scope
from audits.claims.registry import all_claims

CLAIMS = json.loads((Path(__file__).parents[2] / "reports" / "claims.json").read_text(encoding="utf-8"))["claims"]
MOST = 25  # words of a reason


def test_every_claim_of_today_is_judged() -> None:
    assert {claim["id"] for claim in CLAIMS} == {claim.id for claim in all_claims()}


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim["id"])
def test_a_verdict_is_one_short_sentence_at_every_tier(claim: dict) -> None:
    assert claim["kind"] in set(Kind)
    for judged in (claim, *claim.get("lower_tiers", ())):
        assert judged["scope"] in set(Scope)
        assert 0 < len(judged["reason"].split()) <= MOST, judged["reason"]
        assert judged["would_change"]
        if judged["verdict"] == "INCONCLUSIVE":
            assert judged["minimum_detectable_effect"]


def test_attacks_are_named_as_such() -> None:
    assert {claim["id"] for claim in CLAIMS if claim["kind"] == Kind.ATTACK} == {
        claim["id"] for claim in CLAIMS if claim["id"].startswith("attack-")
    }
