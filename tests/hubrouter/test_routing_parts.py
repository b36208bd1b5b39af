"""Precision and chance of a router, the parts of the diagnostic's models, Bloom filters and bandits."""

from __future__ import annotations

import pkgutil
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import pytest
import torch
from rbloom import Bloom as Oracle

import hubrouter.diagnostic.representations as representations
import hubrouter.diagnostic.routers as routers
from hubrouter.diagnostic.bandits.linucb import LinUcb
from hubrouter.diagnostic.bandits.oful import Oful
from hubrouter.diagnostic.bandits.ridge import LinearBandit
from hubrouter.diagnostic.bandits.thompson import Thompson
from hubrouter.diagnostic.batch import Batch, Reading
from hubrouter.diagnostic.bloom import BloomFilter
from hubrouter.diagnostic.bm25 import bm25_scores
from hubrouter.diagnostic.config import DiagnosticConfig, representation, router
from hubrouter.diagnostic.model import RoutedModel, decayed, parameters_of
from hubrouter.diagnostic.scores import Scores, by_token, chance, normalised, precision, rank, read, route_loss
from hubrouter.diagnostic.tasks.distant_evidence import DistantEvidence
from hubrouter.diagnostic.tasks.hotpot import segmented

CONFIG = DiagnosticConfig(vocab_size=20, length=32, d_model=16, n_heads=2, hubs=4, window=3, features=8)
TASK = DistantEvidence(32, 10, 20, 2, picks=2)


def names(package) -> list[str]:
    return sorted(m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_"))


def questions(count: int = 6) -> Batch:
    return TASK.draw(count, torch.Generator().manual_seed(0))


def question(length: int, answer: int, query: int) -> Batch:
    free = torch.ones(1, length, dtype=torch.bool)
    free[0, query] = False
    one = torch.tensor
    return Batch(torch.zeros(1, length, dtype=torch.long), one([query]), one([answer]), one([0]), free)


def by_hand(unit: Sequence[float], batch: Batch, reading: Reading) -> float:
    """Every order of equal scores tried."""
    places = [place for place, may in enumerate(batch.candidates[0].tolist()) if may]
    best = max(sum(unit[p] for p in chosen) for chosen in combinations(places, reading.picks))
    sets = [c for c in combinations(places, reading.picks) if abs(sum(unit[p] for p in c) - best) < 1e-9]
    answer = int(batch.answer[0])
    hits = [{answer, answer - 1} & set(c) if reading.successors else {answer} & set(c) for c in sets]
    return sum(map(bool, hits)) / len(sets)


@pytest.mark.parametrize(
    "unit", [[0] * 6, [1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 1, 1], [3, 0, 0, 0, 0, 2], [5, 4, 3, 2, 1, 0]]
)
@pytest.mark.parametrize("reading", [Reading(1), Reading(2), Reading(2, True), Reading(3, True), Reading(5)], ids=str)
@pytest.mark.parametrize(("answer", "query"), [(0, 3), (2, 5), (5, 0)])
def test_precision_with_ties_is_the_mean_over_all_ways_to_break_them(unit, reading, answer, query) -> None:
    batch = question(6, answer, query)
    found = precision(by_token(torch.tensor([unit], dtype=torch.float32)), batch, reading)
    assert float(found) == pytest.approx(by_hand(unit, batch, reading), abs=1e-9)


def test_chance_is_the_precision_of_equal_scores_and_the_papers_is_reproduced() -> None:
    batch = question(512, 300, 0)
    scores = by_token(torch.randn(1, 512))
    assert float(chance(scores, batch, Reading(4, successors=True))) == pytest.approx(8 / 512, abs=2e-4)
    assert float(chance(scores, batch, Reading(8))) == pytest.approx(8 / 511)
    assert normalised(0.25, 0.25) == 0
    assert normalised(1.0, 0.25) == 1


def test_rank_counts_from_the_best_and_shares_places() -> None:
    batch = question(5, 2, 4)
    assert float(rank(by_token(torch.tensor([[3.0, 2, 1, 0, 9]])), batch)) == 3
    assert float(rank(by_token(torch.tensor([[1.0, 1, 1, 0, 9]])), batch)) == 2


def test_what_is_read_are_the_picked_tokens_and_their_successors() -> None:
    batch = question(6, 2, 0)
    scores = by_token(torch.tensor([[9.0, 0, 3, 0, 0, 2]]))
    assert read(scores, batch, Reading(2)).int().tolist() == [[0, 0, 1, 0, 0, 1]]
    assert read(scores, batch, Reading(2, successors=True)).int().tolist() == [[0, 0, 1, 1, 0, 1]]


def test_banks_are_read_whole() -> None:
    batch, home = question(4, 2, 3), torch.tensor([[0, 1, 1, 0]])
    scores = Scores(torch.tensor([[0.0, 1.0]]), home)
    assert read(scores, batch, Reading(1)).int().tolist() == [[0, 1, 1, 0]]
    assert float(precision(scores, batch, Reading(1))) == 1
    assert float(chance(scores, batch, Reading(1))) == 0.5


def test_the_routers_loss_prefers_the_answer() -> None:
    batch = question(4, 2, 3)
    right, wrong = (route_loss(by_token(torch.tensor([row])), batch) for row in ([0.0, 0, 5, 9], [5.0, 0, 0, 9]))
    assert right < 0.05 < wrong


@pytest.mark.parametrize("name", names(routers))
def test_every_router_gives_a_finite_loss_and_learns_from_it(name: str) -> None:
    torch.manual_seed(0)
    batch, made = questions(), router(name).build(CONFIG)
    h = torch.randn(6, 32, 16, requires_grad=True)
    scores = made(h, batch)
    assert float(precision(scores, batch, made.reading(TASK.reading)).mean()) <= 1
    loss = made.loss(scores, h, batch)
    assert loss.isfinite()
    trained = [p for p in made.parameters() if p.requires_grad]
    if trained:
        loss.backward()
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in trained)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("name", names(representations))
def test_every_representation_keeps_the_shape_and_is_causal_where_configured(name: str, causal: bool) -> None:
    torch.manual_seed(0)
    if name == "sparse" and causal:
        with pytest.raises(ValueError, match="bidirectional"):
            representation(name).build(replace(CONFIG, causal=True))
        return
    made = representation(name).build(replace(CONFIG, causal=causal)).double()
    x = torch.randn(2, 32, 16, dtype=torch.float64)
    other = x.clone()
    other[:, 20:] = torch.randn(2, 12, 16, dtype=torch.float64)
    before, after = made(x), made(other)
    assert before.shape == x.shape
    depends = float((before - after).detach()[:, :20].abs().max()) > 1e-9
    always_causal, both = (
        {"raw", "rwkv"},
        {"attention", "flow", "hub", "linear_attention", "performer", "sliding_window"},
    )
    assert depends == (name not in always_causal and not (name in both and causal))


@pytest.mark.parametrize(("name", "routed"), [("raw", "investigator"), ("attention", "segment_max"), ("raw", "bloom")])
def test_a_model_routes_predicts_and_trains(name: str, routed: str) -> None:
    torch.manual_seed(0)
    made = RoutedModel(CONFIG, representation(name).build(CONFIG), router(routed).build(CONFIG))
    batch = questions()
    answered = made(batch, TASK.reading)
    assert answered.logits.shape == (6, 20)
    made.loss(answered, batch, 1.0).backward()
    assert made.embedding.weight.grad.abs().sum() > 0
    assert parameters_of(made) > 1000


@pytest.mark.parametrize("name", ["raw", "global_mean", "perceiver", "linear_attention", "performer"])
def test_without_positions_like_tokens_cannot_be_told_apart(name: str) -> None:
    batch = TASK.draw(8, torch.Generator().manual_seed(0))  # two distractors with the query's key, and the answer
    for positions in (False, True):
        torch.manual_seed(0)
        config = replace(CONFIG, positions=positions)
        made = RoutedModel(config, representation(name).build(config), router("investigator").build(config)).double()
        scores = made(batch, TASK.reading).scores.unit
        like = (batch.tokens == batch.tokens.gather(1, batch.query[:, None])) & batch.candidates
        spread = torch.stack([row[at].max() - row[at].min() for row, at in zip(scores, like, strict=True)])
        assert like.sum(1).eq(3).all()
        assert (float(spread.detach().max()) > 1e-6) == positions


def test_the_weight_of_the_routers_loss_falls_from_one_to_a_tenth() -> None:
    assert decayed(0, 11) == 1
    assert decayed(5, 11) == pytest.approx(0.55)
    assert decayed(10, 11) == pytest.approx(0.1)


def test_the_bloom_filter_has_no_false_negatives_and_the_oracles_false_positive_rate() -> None:
    filters = BloomFilter(bits=256, hashes=2)
    held, others = torch.arange(1, 21)[None], torch.arange(1000, 9000)[None]
    table = filters.of(held)
    assert filters.contains(table, held).all()
    oracle = Oracle(20, 0.02)
    oracle.update(range(1, 21))
    expected = (1 - (1 - 1 / 256) ** 40) ** 2  # the textbook's rate of false positives
    assert float(filters.contains(table, others).double().mean()) == pytest.approx(expected, abs=0.01)
    assert sum(number in oracle for number in range(1000, 9000)) / 8000 < 0.05
    with pytest.raises(ValueError, match="need bits >= 1"):
        BloomFilter(0)


@pytest.mark.parametrize("kind", [LinUcb, Thompson, Oful])
def test_bandits_find_the_arm_with_the_highest_reward(kind: type[LinearBandit]) -> None:
    gen = torch.Generator().manual_seed(0)
    bandit, truth = kind(4, gen), torch.tensor([0.0, 1.0, 0.0, -1.0], dtype=torch.float64)
    right = []
    for _ in range(400):
        arms = torch.nn.functional.normalize(torch.randn(10, 4, generator=gen, dtype=torch.float64), dim=1)
        picked = bandit.pick(arms, 1)
        bandit.learn(arms[picked], arms[picked] @ truth)
        right.append(bool(picked[0] == (arms @ truth).argmax()))
    assert sum(right[-100:]) > 60
    assert sum(right[-100:]) > sum(right[:20])
    torch.testing.assert_close(bandit.estimate, truth, atol=0.1, rtol=0)


def test_bm25_finds_the_segment_that_shares_rare_words() -> None:
    sentences = [(f"the town number {n} has a market", False) for n in range(15)] + [("zebras sleep in Arvelle", True)]
    scores = bm25_scores(segmented("where do zebras sleep?", sentences))
    assert int(scores.argmax()) == 15
    assert bm25_scores(segmented("qqq www", sentences)).tolist() == [0] * 16
