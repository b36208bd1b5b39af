"""The price of a leak: the runs pair both sides, and made-up evidence leads to every verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from audits.claims.claim import ClaimVerdict
from audits.claims.hubrouter import attack_leak_price
from audits.claims.hubrouter._price import MARGIN, Price, pairs_of, price
from audits.evidence.experiment import Options, RunSpec
from audits.evidence.ledger import Evidence, Record
from audits.experiments.language_models import leak_price
from audits.experiments.training.training import evaluate
from audits.leaks import all_leaks

PLANTED = {leak.name: leak for leak in all_leaks()}
SETTING = {"tier": "full", "steps": 400, "corpus": {"name": "a text", "sha256": "0"}}
CLEAN = (2.31, 2.28, 2.33, 2.30, 2.29)
NOISE = (0.001, -0.001, 0.0005, 0.0, -0.0005)
SMALL = leak_price.Size(3, 2, 48, 1e-2, 2, 200, ("needle", "batch_norm"))


def quiet(_done: int, _total: int, _note: str = "") -> None:
    """No progress is shown."""


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Options:
    monkeypatch.setenv("HUBROUTER_AUDIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(leak_price.TIERS, "quick", SMALL)
    text = tmp_path / "text.txt"
    text.write_text("\n".join(f"line {n} of {n * n % 977} words, or so" for n in range(600)))
    return Options(corpus=str(text))


def run(leak: str, seed: int, gain: float, *, masked: float | None = 2.5, diverged: bool = False) -> Record:
    clean = CLEAN[seed]
    leaky = {"valid_nats": None if diverged else clean - gain, "diverged": diverged}
    result: dict[str, Any] = {
        "leaky": leaky,
        "clean": {"valid_nats": clean, "diverged": False},
        "leaky_under_clean_nats": masked,
        "leak_class": "dense",
    }
    return Record("leak-price", {"twin": leak, **SETTING}, seed, result, {}, 1.0)


def kill(leak: str, verdict: str = "LEAK") -> Record:
    return Record("kill-matrix", {"twin": leak}, 0, {"leaky": {"gradient": "PASS", "isolation": verdict}}, {}, 1.0)


def evidence(gains: Mapping[str, float], noise: tuple[float, ...] = NOISE) -> Evidence:
    """Five seeds a leak with these mean gains, all leaks confirmed."""
    runs = [run(leak, seed, gain + noise[seed]) for leak, gain in gains.items() for seed in range(5)]
    return Evidence((*runs, *(kill(leak) for leak in gains)))


def verdict(given: Evidence, *wanted: str) -> ClaimVerdict:
    return attack_leak_price.judge_leaks(given, set(wanted)).verdict


def test_all_leaks_that_buy_refute_the_statement() -> None:
    assert verdict(evidence({"a": 0.1, "b": 0.3}), "a", "b") is ClaimVerdict.REFUTED


def test_a_refutation_needs_every_leak() -> None:
    judgement = attack_leak_price.judge_leaks(evidence({"a": 0.1, "b": 0.3}), {"a", "b", "c"})
    assert judgement.verdict is ClaimVerdict.INCONCLUSIVE
    assert "1 further" in judgement.details


@pytest.mark.parametrize("gain", [0.0, 0.004, -0.2])
def test_one_leak_that_does_not_lower_perplexity_supports_the_statement(gain: float) -> None:
    judgement = attack_leak_price.judge_leaks(evidence({"a": 0.3, "b": gain}), {"a", "b"})
    assert judgement.verdict is ClaimVerdict.SUPPORTED
    assert len(judgement.evidence) == 10


def test_sides_that_compute_the_very_same_are_proof_and_no_error() -> None:
    assert verdict(evidence({"a": 0.3, "b": 0.0}, noise=(0.0,) * 5), "a", "b") is ClaimVerdict.SUPPORTED


def test_noise_leaves_the_statement_open_with_a_detectable_effect_and_seeds() -> None:
    given = evidence({"a": 0.02}, noise=(0.05, -0.04, 0.03, -0.05, 0.01))
    judgement = attack_leak_price.judge_leaks(given, {"a"})
    assert judgement.verdict is ClaimVerdict.INCONCLUSIVE
    assert "nats" in str(judgement.minimum_detectable_effect)
    assert judgement.seeds_needed is not None
    assert judgement.seeds_needed > 5


def test_a_gain_that_only_one_of_many_leaks_shows_by_chance_is_corrected_for() -> None:
    noise = (0.02, 0.03, 0.018, 0.024, 0.031)  # p about .001 alone
    alone = price(pairs_of(evidence({"a": 0.0}, noise), {"a"}))[0]
    assert alone.price is Price.LOWERS
    noisy = {f"b{n}": 0.05 for n in range(40)}
    spread = tuple(30 * value for value in NOISE)
    among = Evidence((*evidence({"a": 0.0}, noise).records, *evidence(noisy, spread).records))
    assert next(p for p in price(pairs_of(among, {"a", *noisy})) if p.pairs.leak == "a").price is Price.OPEN


def test_a_leak_that_no_probe_killed_is_no_evidence() -> None:
    given = Evidence((*evidence({"a": 0.3}).records, *(run("b", seed, 0.0) for seed in range(5)), kill("b", "PASS")))
    judgement = attack_leak_price.judge_leaks(given, {"a", "b"})
    assert judgement.verdict is ClaimVerdict.INCONCLUSIVE
    assert "1 were killed by no probe" in judgement.details


def test_two_seeds_are_no_evidence() -> None:
    given = Evidence((run("a", 0, 0.1), run("a", 1, 0.2), kill("a")))
    judgement = attack_leak_price.judge_leaks(given, {"a"})
    assert judgement.verdict is ClaimVerdict.NOT_TESTABLE
    assert judgement.missing


def test_a_seed_that_diverged_is_counted_and_not_paired() -> None:
    whole = evidence({"a": 0.3}).records
    broken = Evidence((*whole[1:], run("a", 0, 0.0, diverged=True)))
    item = price(pairs_of(broken, {"a"}))[0]
    assert item.pairs.failed == 1
    assert item.pairs.seeds == (1, 2, 3, 4)
    figure = attack_leak_price.judge_leaks(broken, {"a"}).figures[0]
    assert figure.columns[0].failed == 1  # type: ignore[union-attr]


def test_leaks_that_are_planted_no_more_do_not_count() -> None:
    assert verdict(evidence({"a": 0.3, "gone": 0.0}), "a") is ClaimVerdict.REFUTED


def test_the_figure_shows_the_greatest_gain_first_and_every_seed() -> None:
    figure = attack_leak_price.judge_leaks(evidence({"a": 0.1, "b": 0.3}), {"a", "b"}).figures[0]
    columns = figure.columns  # type: ignore[union-attr]
    assert [column.label for column in columns] == ["b", "a"]
    assert [point.seed for point in columns[0].points] == [0, 1, 2, 3, 4]
    assert columns[0].points[3].value == pytest.approx(100 * (1 - math.exp(-0.3)))


def test_weights_that_do_not_fit_have_no_signature() -> None:
    runs = tuple(run("a", seed, 0.1, masked=None) for seed in range(5))
    assert pairs_of(Evidence((*runs, kill("a"))), {"a"})[0].signature is None


def test_every_planted_leak_is_priced_or_left_out_with_a_reason() -> None:
    priced = {leak.name for leak in leak_price.priced()}
    left_out = {row[0] for row in attack_leak_price._left_out().rows}
    assert priced | left_out == set(PLANTED)
    assert not priced & left_out
    assert "faint_future" in priced
    assert {"same_padding", "half_precision_kernel", "document_state", "auxiliary_head"} <= left_out


def test_every_priced_leak_returns_the_logits_that_are_scored() -> None:
    tokens = torch.zeros(1, 64, dtype=torch.int64)
    for leak in leak_price.priced():
        for side in (leak.leaky(), leak.clean()):
            assert isinstance(side.eval()(tokens), torch.Tensor), leak.name


@pytest.mark.parametrize("name", ["needle", "hub_own_chunk_summary"])
def test_both_sides_of_a_seed_start_from_the_same_weights(name: str) -> None:
    leaky, clean = (side.state_dict() for side in leak_price.sides(PLANTED[name], 1))
    assert all(torch.equal(leaky[key], clean[key]) for key in clean)
    other = leak_price.sides(PLANTED[name], 2)[0].state_dict()
    assert any(not torch.equal(leaky[key], other[key]) for key in leaky)


def test_weights_of_another_shape_are_not_moved() -> None:
    source, target = torch.nn.Linear(2, 3), torch.nn.Linear(3, 2)
    before = target.weight.clone()
    assert not leak_price.move(source, target)
    assert torch.equal(target.weight, before)


def test_a_small_alphabet_keeps_the_frequent_bytes_apart_and_merges_the_others(small: Options) -> None:
    whole, corpus = leak_price.reduced(small.corpus, 256), leak_price.reduced(small.corpus, 8)
    assert int(corpus.train.max()) == 7
    assert torch.equal(whole.train.clamp(max=7), corpus.train)
    counts = torch.bincount(whole.train, minlength=256)
    assert bool((counts[:-1] >= counts[1:]).all())


def test_the_same_seed_gives_the_same_evidence_and_the_exchange_where_weights_fit(small: Options) -> None:
    specs = {str(spec.config["twin"]): spec for spec in leak_price.runs(small) if spec.seed == 1}
    assert set(specs) == {"needle", "batch_norm"}
    first, second = (leak_price.execute(specs["needle"], small, quiet) for _ in range(2))
    assert first == second
    assert first["leaky_under_clean_nats"] is not None
    assert leak_price.execute(specs["batch_norm"], small, quiet)["leaky_under_clean_nats"] is None


def test_a_leak_that_does_not_show_in_evaluation_gives_equal_losses_to_equal_weights(small: Options) -> None:
    leak = PLANTED["mask_dropped_with_dropout"]
    leaky, clean = leak_price.sides(leak, 0)
    corpus = leak_price.reduced(small.corpus, 32)
    losses = [evaluate(side, corpus.valid, 48, 4, 400) for side in (leaky, clean)]
    assert losses[0] == losses[1]


def test_every_tier_lists_its_runs_under_its_own_name_and_leaks_that_exist(small: Options) -> None:
    for name in leak_price.QUICK_LEAKS:
        assert leak_price.why_not(PLANTED[name]) is None
    spec = RunSpec("leak-price", leak_price.runs(small)[0].config)
    assert spec.config["tier"] == "quick"
    assert "seeds" not in spec.config


def test_the_margin_is_about_a_percent_of_perplexity() -> None:
    assert math.exp(MARGIN) == pytest.approx(1.01, abs=1e-3)
