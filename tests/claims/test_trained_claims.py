"""Claims that are judged from runs: what evidence supports, refutes, or leaves them open."""

import random
from dataclasses import replace
from typing import Any

import pytest

from audits.claims.claim import ClaimVerdict, Judgement
from audits.claims.hubrouter import (
    attack_council_worth,
    attack_selection,
    chunk_size,
    cost,
    graduated_25,
    hub_gpt_causal,
    hub_gpt_ppl,
    hub_jamba_ppl,
    retrofit,
)
from audits.claims.tool import auditor_power
from audits.evidence.experiment import Options
from audits.evidence.ledger import Evidence, Record
from audits.experiments.language_models import chunk_size as chunks
from audits.experiments.language_models import graduated, hybrids
from audits.experiments.language_models._language_model import SIZES, Arm

Findings = list[dict[str, Any]]
SETTING = {"tier": "quick", "d_model": 64, "seq_len": 128, "steps": 350, "corpus": {"name": "a text", "sha256": "s"}}
LEAK: Findings = [{"probe": "perturbation", "leak_class": "dense"}]


def trained(
    arm: Arm, seed: int, nats: float, masked: float | None = None, verdict: str = "PASS", tier: str = "quick"
) -> Record:
    result = {
        "valid_nats": nats,
        "clean_mask_nats": masked,
        "diverged": False,
        "audit": {"verdict": verdict, "findings": LEAK if verdict == "LEAK" else []},
    }
    chunk = arm.chunk or SIZES[tier].chunk
    config = {**SETTING, "tier": tier, "pattern": arm.pattern, "routing": arm.routing, "chunk": chunk}
    return Record("language-model", config, seed, result, {}, 1.0)


def arms(clean: list[float], leaky: list[float], masked: list[float]) -> Evidence:
    records = [trained(Arm("HH"), seed, nats) for seed, nats in enumerate(clean)]
    pairs = enumerate(zip(leaky, masked, strict=True))
    return Evidence((*records, *(trained(Arm("HH", "council"), s, nats, mask, "LEAK") for s, (nats, mask) in pairs)))


def change(evidence: Evidence, **fields: Any) -> Evidence:
    """The first record with other results."""
    first = evidence.records[0]
    return Evidence((replace(first, result=first.result | fields), *evidence.records[1:]))


GOOD = arms([3.80, 3.78, 3.82], [3.40, 3.35, 3.45], [4.40, 4.50, 4.45])
SEEDS = 5


def noise(name: str, sd: float = 0.01) -> float:
    """Reproducible noise, another for every name."""
    return random.Random(name).gauss(0, sd)


def study(experiment: Any, tier: str, shifts: dict[str, float], leaky: str = "LEAK") -> Evidence:
    """A study whose arms have these mean losses by "pattern routing chunk" (3.8 where none is given), five seeds."""
    found = []
    for arm in experiment.arms(Options(tier)):
        name = f"{arm.pattern} {arm.routing}"
        mean = shifts.get(f"{name} {arm.chunk}", shifts.get(name, 3.8))
        for seed in range(SEEDS):
            nats = mean + noise(f"seed {seed}") + noise(f"{name} {arm.chunk} {seed}", 0.004)
            causal = arm.routing == "causal"
            masked, verdict = (None, "PASS") if causal else (5.0, leaky)
            found.append(trained(arm, seed, nats, masked, verdict, tier))
    return Evidence(tuple(found))


def test_a_leak_that_earns_and_loses_under_the_clean_mask_supports_the_attack() -> None:
    judgement = attack_council_worth.judge(GOOD)
    assert judgement.verdict is ClaimVerdict.SUPPORTED
    assert len(judgement.evidence) == 6


def test_leaky_weights_that_stay_better_under_the_clean_mask_refute_the_attack() -> None:
    evidence = arms([3.80, 3.78, 3.82], [3.40, 3.35, 3.45], [3.50, 3.47, 3.54])
    assert attack_council_worth.judge(evidence).verdict is ClaimVerdict.REFUTED


def test_noise_leaves_the_attack_open_with_a_detectable_effect_and_seeds() -> None:
    judgement = attack_council_worth.judge(arms([3.8, 3.9, 3.7], [3.7, 3.95, 3.6], [3.9, 3.8, 3.85]))
    assert judgement.verdict is ClaimVerdict.INCONCLUSIVE
    assert "% of perplexity" in str(judgement.minimum_detectable_effect)
    assert judgement.seeds_needed is None or judgement.seeds_needed > 3


def test_a_clean_arm_that_leaks_voids_the_perplexities() -> None:
    judgement = attack_council_worth.judge(change(GOOD, audit={"verdict": "LEAK", "findings": LEAK}))
    assert judgement.verdict is ClaimVerdict.INCONCLUSIVE
    assert "void" in judgement.reason


def test_a_diverged_run_is_not_paired() -> None:
    assert "diverged" in attack_council_worth.judge(change(GOOD, diverged=True)).reason


def test_unpaired_seeds_are_not_judged() -> None:
    assert attack_council_worth.judge(Evidence(GOOD.records[1:])).missing


@pytest.mark.parametrize(
    ("verdict", "expected", "gate"),
    [
        ("PASS", ClaimVerdict.SUPPORTED, True),
        ("LEAK", ClaimVerdict.REFUTED, False),
        ("UNDETERMINED", ClaimVerdict.INCONCLUSIVE, False),
    ],
)
def test_one_trained_model_that_does_not_pass_closes_the_causality_gate(
    verdict: str, expected: ClaimVerdict, gate: bool
) -> None:
    judgement = hub_gpt_causal.judge(change(GOOD, audit={"verdict": verdict, "findings": []}))
    assert (judgement.verdict, judgement.gate) == (expected, gate)


def test_runs_of_an_earlier_setting_do_not_count() -> None:
    old = trained(Arm("HH"), 0, 3.0, verdict="LEAK")
    old = replace(old, config={**old.config, "steps": 3})
    assert hub_gpt_causal.judge(Evidence((old, *GOOD.records))).verdict is ClaimVerdict.SUPPORTED
    assert hub_gpt_causal.judge(Evidence((*GOOD.records, old))).verdict is ClaimVerdict.REFUTED


@pytest.mark.parametrize(
    ("causal", "bidirectional", "audit", "verdict"),
    [
        (3.7, 3.0, "LEAK", ClaimVerdict.SUPPORTED),
        (3.9, 3.0, "LEAK", ClaimVerdict.REFUTED),
        (3.8, 3.0, "LEAK", ClaimVerdict.REFUTED),  # only the leaking arm is better
        (3.8, 3.0, "PASS", ClaimVerdict.INCONCLUSIVE),
        (3.8, 3.8, "LEAK", ClaimVerdict.INCONCLUSIVE),
    ],
)
def test_a_hybrids_gain_counts_only_where_routing_is_strictly_causal(
    causal: float, bidirectional: float, audit: str, verdict: ClaimVerdict
) -> None:
    losses = {"MMAM causal": 3.8, "MMHM causal": causal, "MMHM bidirectional": bidirectional}
    judgement = hub_jamba_ppl.judge(study(hybrids, "full", losses, audit))
    assert judgement.verdict is verdict, judgement.reason
    assert judgement.minimum_detectable_effect
    assert len(judgement.evidence) == 15
    (figure,) = judgement.figures
    assert [len(column.points) for column in figure.columns] == [5, 5, 5, 5]


@pytest.mark.parametrize(
    ("hub", "verdict"),
    [(3.9, ClaimVerdict.SUPPORTED), (3.7, ClaimVerdict.REFUTED), (3.8, ClaimVerdict.INCONCLUSIVE)],
)
def test_the_cost_of_strict_causality_is_judged_against_jamba(hub: float, verdict: ClaimVerdict) -> None:
    assert hub_gpt_ppl.judge(study(hybrids, "full", {"HHHH causal": hub})).verdict is verdict


@pytest.mark.parametrize(
    ("losses", "verdict"),
    [
        ({"AAAH causal": 3.6}, ClaimVerdict.SUPPORTED),
        ({"AAAH causal": 4.0}, ClaimVerdict.REFUTED),
        ({"AAAH causal": 3.6, "AHAH causal": 3.4}, ClaimVerdict.REFUTED),
        ({"AAAH bidirectional": 3.0}, ClaimVerdict.REFUTED),
        ({}, ClaimVerdict.INCONCLUSIVE),
    ],
)
def test_a_quarter_replaced_has_to_be_better_and_the_best_of_the_sweep(
    losses: dict[str, float], verdict: ClaimVerdict
) -> None:
    judgement = graduated_25.judge(study(graduated, "full", losses))
    assert judgement.verdict is verdict, judgement.reason
    assert len(judgement.evidence) == 45


@pytest.mark.parametrize(
    ("losses", "verdict"),
    [
        ({"HHHH council 8": 3.4, "HHHH council 16": 3.0, "HHHH council 32": 2.6}, ClaimVerdict.SUPPORTED),
        ({"HHHH causal 32": 3.5}, ClaimVerdict.REFUTED),
        ({"HHHH council 8": 2.6, "HHHH council 16": 3.0, "HHHH council 32": 3.4}, ClaimVerdict.REFUTED),
        ({}, ClaimVerdict.INCONCLUSIVE),
    ],
)
def test_the_chunk_size_has_little_effect_only_if_equivalence_is_proved_and_the_artefact_shown(
    losses: dict[str, float], verdict: ClaimVerdict
) -> None:
    judgement = chunk_size.judge(study(chunks, "full", losses))
    assert judgement.verdict is verdict, judgement.reason
    assert len(judgement.evidence) == 30


@pytest.mark.parametrize("claim", [hub_jamba_ppl, hub_gpt_ppl])
def test_a_causal_arm_that_leaks_closes_the_gate_of_every_perplexity_claim(claim: Any) -> None:
    evidence = study(hybrids, "full", {})
    leaking = [replace(r, result=r.result | {"audit": {"verdict": "LEAK", "findings": LEAK}}) for r in evidence.records]
    judgement = claim.judge(Evidence(tuple(leaking)))
    assert (judgement.verdict, judgement.gate) == (ClaimVerdict.INCONCLUSIVE, False)


def attempt(seed: int, after: float) -> Record:
    tuned = [
        {"arm": arm, "rate": rate, "valid_nats": nats + noise(f"{arm} {seed}") + rate / 100, "diverged": False}
        for arm, nats in (("control", 3.6), ("retrofit", after))
        for rate in (0.25, 1.0)
    ]
    result = {"pretrained": {"valid_nats": 3.8 + noise(f"before {seed}")}, "swapped_nats": 7.0, "tuned": tuned}
    return Record("retrofit", {"tier": "full"}, seed, result, {}, 1.0)


@pytest.mark.parametrize(
    ("after", "verdict"),
    [(4.2, ClaimVerdict.SUPPORTED), (3.7, ClaimVerdict.REFUTED), (3.806, ClaimVerdict.INCONCLUSIVE)],
)
def test_a_retrofit_fails_where_it_does_not_recover_the_pretrained_loss(after: float, verdict: ClaimVerdict) -> None:
    judgement = retrofit.judge(Evidence(tuple(attempt(seed, after) for seed in range(5))))
    assert judgement.verdict is verdict, judgement.reason
    assert retrofit.judge(Evidence((attempt(0, after),))).missing


def selection(seed: int, perturbation: str, gradient: str = "PASS") -> Record:
    result = {"perturbation": perturbation, "gradient": gradient, "audit": {"verdict": perturbation, "findings": []}}
    return Record("selection-attack", {}, seed, result, {}, 1.0)


def test_one_model_that_leaks_refutes_that_the_mask_is_enough() -> None:
    judgement = attack_selection.judge(Evidence((selection(0, "PASS"), selection(1, "LEAK"))))
    assert judgement.verdict is ClaimVerdict.REFUTED
    assert "1 of 2" in judgement.reason


def test_only_passes_support_that_the_mask_is_enough() -> None:
    passes = tuple(selection(seed, "PASS") for seed in range(3))
    assert attack_selection.judge(Evidence(passes)).verdict is ClaimVerdict.SUPPORTED
    undecided = Evidence((*passes[:2], selection(2, "UNDETERMINED")))
    assert attack_selection.judge(undecided).verdict is ClaimVerdict.INCONCLUSIVE


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


def test_fewer_seeds_than_were_registered_support_nothing() -> None:
    two = arms([3.80, 3.78], [3.40, 3.35], [4.40, 4.50])
    assert attack_council_worth.judge(two).missing
    assert hub_gpt_causal.judge(two).missing
    assert attack_selection.judge(Evidence((selection(0, "PASS"), selection(1, "PASS")))).missing
