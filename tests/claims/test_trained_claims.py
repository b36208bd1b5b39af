"""Claims that are judged from runs: what evidence supports, refutes, or leaves them open."""

import pytest

from audits.claims.claim import ClaimVerdict, Judgement
from audits.claims.hubrouter import cost
from audits.claims.tool import auditor_power
from audits.evidence.ledger import Evidence, Record


def costs(counted: float, low: float, high: float) -> Evidence:
    rows = [{"n": n, "flops": n * 10, "ms_median": 1.0} for n in (256, 512, 1024)]
    slope = {"slope": (low + high) / 2, "low": low, "high": high}
    hubs = [{"hubs": m, "flops": 1000 + m * 7} for m in (8, 16, 32)]
    result = {"rows": rows, "flops_exponent": counted, "ms_exponent": slope, "hubs": hubs}
    attention = result | {"flops_exponent": 1.7}
    return Evidence(
        tuple(Record("layer-cost", {"layer": n}, 0, r, {}, 1.0) for n, r in (("hub", result), ("attention", attention)))
    )


@pytest.mark.parametrize(
    ("evidence", "verdict"),
    [
        (costs(1.0, 0.9, 1.2), ClaimVerdict.SUPPORTED),
        (costs(2.0, 1.9, 2.1), ClaimVerdict.REFUTED),
        (costs(1.0, 2.0, 2.2), ClaimVerdict.REFUTED),
        (costs(1.0, 0.5, 2.5), ClaimVerdict.INCONCLUSIVE),
        (costs(1.4, 1.0, 1.5), ClaimVerdict.INCONCLUSIVE),
    ],
)
def test_cost_is_judged_by_counted_and_measured_exponents(evidence: Evidence, verdict: ClaimVerdict) -> None:
    assert cost.judge(evidence).verdict is verdict


def test_cost_says_only_what_does_not_change_from_run_to_run() -> None:
    assert cost.judge(costs(1.0, 0.9, 1.2)).reason == cost.judge(costs(1.0, 0.91, 1.1)).reason


def leak(name: str, leaky: str, clean: str = "PASS", named: str = "dense") -> Record:
    result = {"leak_class": "dense", "named": named, "leaky": {"perturbation": leaky}, "clean": {"perturbation": clean}}
    return Record("kill-matrix", {"twin": name}, 0, result, {}, 1.0)


def power(*leaks: Record) -> Judgement:
    return auditor_power.judge_corpus(Evidence(leaks), {str(record.config["twin"]) for record in leaks})


def test_a_survivor_or_a_false_alarm_refutes_the_auditor_and_closes_the_gate() -> None:
    assert power(leak("a", "LEAK")).verdict is ClaimVerdict.INCONCLUSIVE  # nobody has drawn how often
    for bad in (leak("b", "PASS"), leak("b", "LEAK", clean="LEAK"), leak("b", "LEAK", clean="UNDETERMINED")):
        judgement = power(leak("a", "LEAK"), bad)
        assert (judgement.verdict, judgement.gate) == (ClaimVerdict.REFUTED, False)
        assert ": b" in judgement.details


def test_a_wrongly_named_class_refutes_the_auditor() -> None:
    judgement = power(leak("a", "LEAK", named="selection"))
    assert (judgement.verdict, judgement.gate) == (ClaimVerdict.REFUTED, False)
    assert "named wrongly: a" in judgement.details


def test_a_part_of_the_leak_corpus_does_not_support_the_auditor() -> None:
    judgement = auditor_power.judge_corpus(Evidence((leak("a", "LEAK"),)), {"a", "b"})
    assert (judgement.verdict, judgement.missing) == (ClaimVerdict.NOT_TESTABLE, True)
    assert auditor_power.judge(Evidence((leak("a", "LEAK"),))).missing
