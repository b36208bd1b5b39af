"""A claim is judged at every tier that has evidence; stale evidence is shown and contradicts nothing."""

from collections.abc import Callable
from dataclasses import replace

import pytest

import audits.claims.claim
from audits.claims.claim import Claim, ClaimVerdict, Expected, Judgement, expected_of, judge_all, no_run_yet
from audits.cli.claims import exit_code
from audits.evidence.ledger import Evidence, Record

TODAY = {"demo": "new"}
EXPECTED = {"demo": Expected({"quick": ClaimVerdict.INCONCLUSIVE, "full": ClaimVerdict.SUPPORTED})}


def run(tier: str | None, verdict: str, code: str = "new", seed: int = 0) -> Record:
    config = {} if tier is None else {"tier": tier}
    return Record("demo", config, seed, {"verdict": verdict}, {}, 1.0, code)


def judge(evidence: Evidence) -> Judgement:
    """The verdict that the last run says."""
    runs = evidence.of("demo")
    if not runs:
        return no_run_yet("demo")
    verdict = ClaimVerdict(runs[-1].result["verdict"])
    return Judgement(verdict, "r", "w", evidence=tuple(r.run for r in runs), gate=verdict is not ClaimVerdict.REFUTED)


CLAIM = Claim("demo", "s", "s", "t", "r", judge, needs=("demo",))


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> Callable[..., audits.claims.claim.JudgedClaim]:
    monkeypatch.setattr(audits.claims.claim, "expectations", lambda: EXPECTED)
    return lambda *records: judge_all((CLAIM,), Evidence(records), TODAY)[0]


def test_the_highest_tier_with_evidence_comes_first(judged) -> None:
    item = judged(run("quick", "INCONCLUSIVE"), run("full", "SUPPORTED"))
    assert [(j.tier, j.judgement.verdict) for j in item.at_every_tier] == [
        ("full", ClaimVerdict.SUPPORTED), ("quick", ClaimVerdict.INCONCLUSIVE),
    ]  # fmt: skip
    assert exit_code([item], failed=False) == 0


def test_evidence_that_is_the_same_at_every_tier_is_judged_once(judged) -> None:
    item = judged(run(None, "INCONCLUSIVE"))
    assert (item.tier, item.others) == ("quick", ())


def test_without_evidence_the_claim_is_missing_and_contradicts_nothing(judged) -> None:
    item = judged()
    assert item.judgement.missing
    assert exit_code([item], failed=False) == 0


def test_without_evidence_a_published_claim_rests_on_its_printed_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        audits.claims.claim, "expectations", lambda: {"demo": Expected({"printed": ClaimVerdict.NOT_TESTABLE})}
    )
    (item,) = judge_all((replace(CLAIM, source="arXiv:1"),), Evidence(), TODAY)
    assert (item.tier, item.expected) == ("printed", ClaimVerdict.NOT_TESTABLE)


def test_fresh_evidence_against_the_reviewed_verdict_fails_at_any_tier(judged) -> None:
    assert exit_code([judged(run("full", "INCONCLUSIVE"))], failed=False) == 1
    assert exit_code([judged(run("quick", "SUPPORTED"), run("full", "SUPPORTED"))], failed=False) == 1
    assert exit_code([judged(run("paper", "SUPPORTED"))], failed=False) == 1  # nobody reviewed that tier


def test_stale_evidence_is_marked_and_does_not_fail(judged) -> None:
    old = run("full", "REFUTED", code="old")
    item = judged(run("quick", "INCONCLUSIVE"), old)
    assert (item.tier, item.stale) == ("full", (old.run,))
    assert not item.gate_failed
    assert exit_code([item], failed=False) == 0


def test_fresh_runs_are_judged_without_the_stale_ones(judged) -> None:
    item = judged(run("full", "REFUTED", code="old", seed=1), run("full", "SUPPORTED"))
    assert (item.judgement.verdict, item.stale) == (ClaimVerdict.SUPPORTED, ())


def test_a_fresh_closed_gate_fails(judged) -> None:
    item = judged(run("full", "REFUTED"))
    assert item.gate_failed
    assert exit_code([item], failed=False) == 1


def test_a_verdict_without_a_tier_holds_at_every_tier() -> None:
    by_tier = expected_of({"verdict": "SUPPORTED", "full": "REFUTED", "why": "w"}).by_tier
    assert by_tier["quick"] is ClaimVerdict.SUPPORTED
    assert by_tier["full"] is ClaimVerdict.REFUTED


@pytest.mark.parametrize(("open_too", "exit_by"), [(["full"], 0), (["quick"], 1), ([], 1)])
def test_a_verdict_that_may_stay_open_is_not_contradicted_by_noise(
    monkeypatch: pytest.MonkeyPatch, open_too: list[str], exit_by: int
) -> None:
    expected = expected_of({"verdict": "REFUTED", "may_stay_open": open_too})
    monkeypatch.setattr(audits.claims.claim, "expectations", lambda: {"demo": expected})
    (noisy,) = judge_all((CLAIM,), Evidence((run("full", "INCONCLUSIVE"),)), TODAY)
    assert exit_code([noisy], failed=False) == exit_by
    (opposite,) = judge_all((CLAIM,), Evidence((run("full", "SUPPORTED"),)), TODAY)
    assert exit_code([opposite], failed=False) == 1
