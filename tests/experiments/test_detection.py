"""Detection power: counted over draws, bounded exactly, and judged by the claim about the auditor."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from audits.claims.claim import ClaimVerdict, Judgement
from audits.claims.judged import Report, report_of
from audits.claims.tool import auditor_power
from audits.evidence.experiment import Options, RunSpec
from audits.evidence.ledger import Evidence, Ledger, Record
from audits.experiments.auditor import detection_power
from audits.experiments.auditor._causal import CAUSAL, causal_model
from audits.experiments.auditor._detection import AUDIT, DRAWS_NEEDED, FLOOR, QUICK, alarms, detections, power_records
from audits.leaks import all_leaks
from audits.leaks._planted import redrawn
from audits.probes import all_probes
from audits.report.claims.what_probes_see import what_probes_see
from audits.statistics.counts import Counts, largest_rate, least_rate

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "what-each-probe-sees.md"


def power(leak: str, seen: int, of: int, flagged: int = 0, seed: int = 0) -> Record:
    """Draws of one leak by one probe and by the audit; `flagged` draws of its clean control raised an alarm."""
    leaky = {name: {"LEAK": seen, "PASS": of - seen} for name in ("p", AUDIT)}
    clean = {name: {"LEAK": flagged, "PASS": of - flagged} for name in ("p", AUDIT)}
    return Record("detection-power", {"twin": leak, "draws": of}, seed, {"leaky": leaky, "clean": clean}, {}, 1.0)


def matrix(leak: str, **result: Any) -> Record:
    words = {"leak_class": "dense", "named": "dense", "mechanism": "Something.", "origin": "somewhere", **result}
    sides = {"leaky": {"p": "LEAK", "q": "PASS"}, "clean": {"p": "PASS", "q": "PASS"}}
    result = {**sides, **words, "forwards": {"p": 3}}
    return Record("kill-matrix", {"twin": leak}, 0, result, {}, 1.0)


def judged(*records: Record) -> Judgement:
    return auditor_power.judge_corpus(Evidence((matrix("a"), *records)), {"a"})


def test_the_draws_needed_are_the_fewest_that_show_the_floor():
    assert (
        least_rate(Counts(DRAWS_NEEDED, DRAWS_NEEDED)) >= FLOOR > least_rate(Counts(DRAWS_NEEDED - 1, DRAWS_NEEDED - 1))
    )


def test_without_an_alarm_the_rate_is_bounded_by_the_rule_of_three():
    assert largest_rate(Counts(0, 3000)) == pytest.approx(3 / 3000, rel=0.01)
    assert largest_rate(Counts(7, 7)) == 1
    assert least_rate(Counts(0, 7)) == 0


def test_draws_of_all_tiers_count_together():
    found = detections([power("a", 2, 2), power("a", 19, 20, seed=1)])
    assert {(one.probe, one.counts) for one in found} == {("p", Counts(21, 22)), (AUDIT, Counts(21, 22))}
    assert not found[0].shown
    assert not found[0].below
    assert detections([power("a", 5, 20)])[0].below


def test_an_alarm_names_its_model():
    quiet, loud = power("a", 2, 2), power("b", 2, 2, flagged=1)
    found = next(alarm for alarm in alarms([quiet, loud]) if alarm.probe == "p")
    assert (found.counts, found.models) == (Counts(1, 4), ("b",))


def test_leaks_that_are_planted_no_more_do_not_count():
    assert power_records(Evidence((power("a", 1, 1), power("gone", 0, 1))), ["a"]) == (power("a", 1, 1),)


def test_the_claim_holds_with_draws_that_show_the_floor_and_states_their_bounds():
    judgement = judged(power("a", 59, 59))
    assert judgement.verdict is ClaimVerdict.SUPPORTED
    assert "at least 95% of draws" in judgement.details
    assert "0/59" in judgement.details
    assert len(judgement.evidence) == 2
    assert judgement.tables[0].rows == (("a", "59/59", "93.9% to 100.0%", "95.0%"),)


@pytest.mark.parametrize("draws", [(), ((2, 2),), ((58, 58),), ((59, 60),)])
def test_too_few_draws_or_one_miss_leave_the_rate_open(draws):
    judgement = judged(*(power("a", seen, of) for seen, of in draws))
    assert judgement.verdict is ClaimVerdict.INCONCLUSIVE
    assert "All planted leaks are found" in judgement.reason
    assert judgement.seeds_needed == DRAWS_NEEDED
    assert judgement.minimum_detectable_effect
    assert judgement.gate


def test_a_leak_without_any_draw_leaves_the_rates_open():
    evidence = Evidence((matrix("a"), matrix("b"), power("a", 59, 59)))
    judgement = auditor_power.judge_corpus(evidence, {"a", "b"})
    assert judgement.verdict is ClaimVerdict.INCONCLUSIVE
    assert "1 of 2" in judgement.reason


def test_the_claim_says_where_nobody_has_drawn():
    assert "not verified" in judged().details


@pytest.mark.parametrize(
    ("record", "reason"),
    [(power("a", 30, 59), "fewer than 95%"), (power("a", 59, 59, flagged=1), "flagged in some draw")],
)
def test_a_leak_seen_too_seldom_and_a_single_alarm_refute_the_claim(record, reason):
    judgement = judged(record)
    assert judgement.verdict is ClaimVerdict.REFUTED
    assert reason in judgement.reason
    assert not judgement.gate


def test_a_draw_counts_the_verdicts_of_both_sides():
    spec = RunSpec("detection-power", {"twin": "needle", "draws": 1, "controls": 1})
    result = detection_power.execute(spec, Options(), lambda *_: None)
    assert result["leaky"]["perturbation"] == result["leaky"][AUDIT] == result["leaky"][QUICK] == {"LEAK": 1}
    assert result["clean"][AUDIT] == {"PASS": 1}
    assert "decode" not in result["clean"]


def test_only_the_first_draws_include_the_control(monkeypatch):
    monkeypatch.setattr(detection_power, "_verdicts", lambda _model, settings: {AUDIT: f"length {settings.seq_len}"})
    spec = RunSpec("detection-power", {"twin": "needle", "draws": 5, "controls": 3})
    result = detection_power.execute(spec, Options(), lambda *_: None)
    assert result["leaky"] == {AUDIT: {"length 32": 5}}
    assert result["clean"] == {AUDIT: {"length 16": 1, "length 24": 1, "length 32": 1}}
    causal = RunSpec("detection-power", {"causal": "GRU", "draws": 5})
    assert sum(detection_power.execute(causal, Options(), lambda *_: None)["clean"][AUDIT].values()) == 5


def test_the_full_tier_has_the_draws_that_show_the_floor_in_runs_short_enough_to_resume():
    leaks = [spec.config for spec in detection_power.runs(Options("full")) if "twin" in spec.config]
    drawn = Counter[str]()
    for config in leaks:
        drawn[config["twin"]] += config["draws"]
        assert config["draws"] <= 12
    assert set(drawn) == {leak.name for leak in all_leaks()}
    assert min(drawn.values()) >= DRAWS_NEEDED


def test_no_two_draws_have_the_same_seed_at_any_tier():
    specs = [spec for tier in ("quick", "full") for spec in detection_power.runs(Options(tier))]
    seeds = [detection_power.seed_of(spec, draw) for spec in specs for draw in range(spec.config["draws"])]
    models = {str(spec.config) for spec in detection_power.runs(Options("quick"))}
    assert len(set(seeds)) * len(models) == len(seeds)
    assert 0 not in seeds


def test_draws_of_another_tier_are_kept_with_those_of_this_one():
    evidence = Evidence((power("needle", 20, 20), power("needle", 2, 2)))
    assert evidence.at("quick") == evidence


@torch.no_grad()
@pytest.mark.parametrize("name", CAUSAL)
def test_the_models_without_a_leak_are_causal_and_their_weights_follow_the_seed(name):
    model = causal_model(name, 1).double()
    tokens = torch.arange(40).reshape(2, 20) % 24
    other = tokens.clone()
    other[:, 12:] = 3
    assert torch.allclose(model(tokens)[:, :12], model(other)[:, :12], atol=1e-9)
    weights = [causal_model(name, seed).state_dict()["embedding.weight"] for seed in (1, 1, 2)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_redrawing_ends_with_its_block():
    leak = next(leak for leak in all_leaks() if leak.name == "needle")
    usual = leak.leaky().state_dict()
    with redrawn(3):
        pass
    assert all(torch.equal(usual[name], weight) for name, weight in leak.leaky().state_dict().items())


def page(*records: Record) -> str:
    return what_probes_see(Report((), Evidence(records)), all_probes())


def test_the_page_without_a_run_says_so():
    assert "not verified" in page()


def test_the_page_tells_what_a_probe_sees_alone_and_misses_and_how_often():
    seen = {
        "leaky": {"perturbation": "LEAK", "gradient": "PASS"},
        "clean": {"perturbation": "PASS", "gradient": "PASS"},
    }
    record = Record("kill-matrix", {"twin": "a"}, 0, {"leak_class": "dense", "named": "dense", **seen}, {}, 1.0)
    draws = {side: {"perturbation": {"LEAK": n, "PASS": 4 - n}} for side, n in (("leaky", 3), ("clean", 0))}
    text = page(record, Record("detection-power", {"twin": "a", "draws": 4}, 0, draws, {}, 1.0))
    assert "**It alone sees** `a`." in text
    assert "Not in every draw: `a` (3/4)." in text
    assert "0/4, at most 52.71%" in text
    assert "Not seen or nothing to look at: none." in text
    assert "Not seen or nothing to look at: all of class dense (1)." in text
    assert "| 3/4, at least 24.9% | 0 of 1 leak |" in text


def test_the_committed_page_is_the_one_the_committed_evidence_gives():
    report = report_of(Ledger(ROOT / "reports" / "evidence").read(), ())
    assert PAGE.read_text(encoding="utf-8") == what_probes_see(report, all_probes())


def test_draws_of_other_code_do_not_count_where_there_are_some_of_today():
    old, new = (power("a", seen, 4, seed=seed) for seed, seen in enumerate((1, 4)))
    matrix_of_probe = matrix("a", leaky={"perturbation": "LEAK"}, clean={"perturbation": "PASS"})
    evidence = Evidence((matrix_of_probe, *(renamed(r) for r in (old, new))))
    whole = what_probes_see(Report((), evidence), all_probes())
    fresh = what_probes_see(Report((), evidence, frozenset({renamed(old).run})), all_probes())
    assert "5/8" in whole
    assert "4/4, at least" in fresh
    assert "5/8" not in fresh


def renamed(record: Record) -> Record:
    """The draws of a probe that exists."""
    result = {side: {"perturbation": of["p"]} for side, of in record.result.items()}
    return Record(record.experiment, record.config, record.seed, result, {}, 1.0)
