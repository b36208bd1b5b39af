"""The hub-count sweep: the task gives nothing away, runs repeat themselves, outcomes are booked as they are."""

import json
import math
from dataclasses import asdict, replace

import pytest
import torch

from audits.evidence.experiment import Options, RunSpec
from audits.experiments.routing import hub_count
from audits.experiments.routing._routing_task import Batch, Task, recall
from audits.experiments.routing.hub_count import SIZES, SMALL, build, held_out_recall, learn, losses, outcome
from hubrouter.orthogonality import hub_orthogonality

TASK = Task(named=4, relevant=2, chunk=16, length=96)
TINY = replace(SMALL, named=2, chunk=8, length=32, d_model=16, steps=6, batch=4, held_out=8, every=2, warmup=2)
LR = 4e-3


def quiet(done: int, total: int, note: str = "") -> None:
    """No progress is shown."""
    del done, total, note


def drawn(task: Task, batch: int, seed: int = 0) -> Batch:
    return task.draw(batch, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("task", [TASK, Task(1, 2, 16, 32), Task(8, 1, 8, 24), Task(3, 6, 8, 16)])
def test_the_relevant_tokens_are_exactly_those_whose_type_the_header_names(task: Task) -> None:
    batch = drawn(task, 50)
    header, body = batch.tokens[:, : task.chunk], batch.tokens[:, task.chunk :]
    assert body.max() < task.types
    for names, tokens, relevant in zip(header, body, batch.relevant, strict=True):
        named = set((names[names != 2 * task.types] - task.types).tolist())
        assert len(named) == task.named
        assert relevant.flatten().tolist() == [token in named for token in tokens.tolist()]
    assert (batch.relevant.sum(-1) == task.relevant).all()
    assert batch.tokens.shape == (50, task.length)


def test_neither_type_nor_place_nor_both_tell_whether_a_token_is_relevant() -> None:
    batch = drawn(TASK, 8000)
    body, relevant = batch.tokens[:, 16:], batch.relevant.flatten(1)
    runs, share = relevant.numel(), TASK.chance
    assert relevant.double().mean().item() == share
    for groups in (body, torch.arange(80).expand_as(body) % 16, torch.arange(80).expand_as(body)):
        seen = torch.bincount(groups.flatten()).double()
        rates = torch.bincount(groups.flatten(), weights=relevant.flatten().double()) / seen
        error = math.sqrt(share * (1 - share) / (runs / len(seen)))
        assert ((rates - share).abs() < 5 * error).all()
        assert ((seen / runs - 1 / len(seen)).abs() < 5 * math.sqrt(1 / len(seen) / runs)).all()


def test_a_named_type_is_as_frequent_as_one_that_is_not() -> None:
    relevant = drawn(TASK, 10).relevant.sum().item()
    per_named = relevant / TASK.named
    per_other = (10 * 80 - relevant) / (TASK.types - TASK.named)
    assert per_named == per_other


def test_the_same_generator_draws_the_same_sequences_and_another_seed_others() -> None:
    assert torch.equal(drawn(TASK, 5).tokens, drawn(TASK, 5).tokens)
    assert not torch.equal(drawn(TASK, 5).tokens, drawn(TASK, 5, seed=1).tokens)


@pytest.mark.parametrize("bad", [(4, 2, 16, 95), (4, 2, 16, 16), (17, 1, 16, 96), (4, 16, 16, 96), (3, 5, 16, 96)])
def test_a_task_that_cannot_be_is_refused(bad: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"must be|need"):
        Task(*bad)


def test_recall_is_one_for_the_answer_zero_for_its_opposite_and_chance_without_any_knowledge() -> None:
    batch = drawn(TASK, 20)
    answer = batch.relevant.float()
    assert recall(answer, batch) == 1.0
    assert recall(-answer, batch) == 0.0
    assert recall(torch.zeros_like(answer), batch) == TASK.chance


def test_a_tie_at_the_border_counts_by_its_share() -> None:
    batch = Batch(torch.zeros(1, 8, dtype=torch.long), torch.tensor([[[True, True, False, False]]]))
    assert recall(torch.tensor([[[3.0, 1.0, 1.0, 0.0]]]), batch) == 0.75
    assert recall(torch.tensor([[[1.0, 1.0, 1.0, 0.0]]]), batch) == pytest.approx(2 / 3)


def test_scores_are_those_by_which_the_strictly_causal_layer_selects() -> None:
    model = build(SMALL, 5, 0)
    tokens = drawn(TASK, 3).tokens
    kept: list[torch.Tensor] = []
    with torch.no_grad():
        handle = model.layer.score.register_forward_hook(lambda *call: kept.append(call[2]))
        scores = model(tokens)
        model.layer(model.norm(model.embedding(tokens)))
        handle.remove()
    assert torch.allclose(scores, kept[0])
    assert torch.allclose(kept[0], kept[1], atol=1e-6)


def test_only_the_header_tells_a_trained_router_the_answer() -> None:
    size = replace(SMALL, named=1, length=32, steps=80, batch=16)
    model = build(size, 4, 0)
    learn(model, size, 2e-2, 0.0, 0, quiet)
    batch = drawn(size.task(), 200, seed=9)
    swapped = torch.cat([batch.tokens[:, :16].roll(1, 0), batch.tokens[:, 16:]], dim=1)
    with torch.no_grad():
        known, misled = (recall(model(tokens)[:, 1:], batch) for tokens in (batch.tokens, swapped))
    assert known > 0.9
    assert misled < 0.5


def test_one_hub_stays_at_chance_by_construction_however_it_is_trained() -> None:
    model = build(TINY, 1, 0)
    result = learn(model, TINY, LR, 0.0, 0, quiet)
    assert {value for _, value in result["curve"]} == {TINY.task().chance}
    assert (result["converged"], result["diverged"], result["steps_to_threshold"]) == (False, False, None)
    with torch.no_grad():
        assert model(drawn(TINY.task(), 4).tokens).unique().numel() == 1


@pytest.mark.parametrize("arm", hub_count.ARMS)
def test_the_same_seed_gives_the_same_record_and_another_seed_another(arm: str) -> None:
    spec = RunSpec(hub_count.NAME, {"hubs": 3, "arm": arm, "lr": LR, **asdict(TINY)}, 1)
    before = torch.random.get_rng_state()
    first, second = (hub_count.execute(spec, Options(), quiet) for _ in range(2))
    assert first == second
    assert first != hub_count.execute(replace(spec, seed=2), Options(), quiet)
    assert torch.equal(before, torch.random.get_rng_state())
    json.dumps(first, allow_nan=False)


def overlap(model: hub_count.Router) -> float:
    return float(hub_orthogonality(model).detach())


def test_the_arms_start_alike_and_the_penalty_alone_turns_the_hubs_apart() -> None:
    plain, turned = (build(TINY, 6, 3) for _ in range(2))
    start, steps = overlap(plain), replace(TINY, steps=60)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), turned.parameters(), strict=True))
    first = [next(losses(build(TINY, 6, 3), TINY, LR, weight, 3)) for weight in (0.0, 1.0)]
    assert first[0] == first[1]  # what is recorded is the task's loss, without the penalty
    learn(plain, steps, LR, 0.0, 3, quiet)
    learn(turned, steps, LR, 1.0, 3, quiet)
    assert overlap(turned) < 0.5 * min(start, overlap(plain))


def test_held_out_sequences_are_the_same_for_all_and_not_those_trained_on() -> None:
    assert held_out_recall(build(TINY, 3, 0), TINY) == held_out_recall(build(TINY, 3, 0), TINY)
    seeds = {spec.seed for tier in SIZES for spec in hub_count.runs(Options(tier=tier))}
    assert hub_count.HELD_OUT not in seeds


@pytest.mark.parametrize(
    ("curve", "nats", "converged", "steps", "diverged"),
    [
        ([[0, 0.1], [50, 0.79], [100, 0.8]], 0.5, True, 100, False),
        ([[0, 0.1], [50, 0.9], [100, 0.79]], 0.5, False, 50, False),
        ([[0, 0.1], [50, 0.2]], 2.7726, False, None, False),
        ([[0, 0.1], [50, 0.9]], 3.0, False, 50, True),
        ([[0, 0.1], [50, 0.9]], math.nan, False, 50, True),
        ([[0, 0.1]], math.inf, False, None, True),
    ],
)
def test_outcomes_are_booked_by_the_end_of_the_budget(
    curve: list[list[float]], nats: float, converged: bool, steps: int | None, diverged: bool
) -> None:
    result = outcome(curve, nats, SMALL)
    assert (result["converged"], result["steps_to_threshold"], result["diverged"]) == (converged, steps, diverged)
    assert result["recall"] == (curve[-1][1] if math.isfinite(nats) else None)
    json.dumps(result, allow_nan=False)


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e38])
def test_a_run_that_is_not_finite_is_recorded_as_diverged_and_is_valid_json(bad: float) -> None:
    model = build(TINY, 3, 0)
    with torch.no_grad():
        model.layer.score.head.weight.fill_(bad)
    result = learn(model, TINY, LR, 0.0, 0, quiet)
    assert (result["diverged"], result["converged"], result["recall"]) == (True, False, None)


def test_the_curve_of_a_run_up_to_a_step_is_the_run_of_so_many_steps() -> None:
    curves = [learn(build(TINY, 3, 0), replace(TINY, steps=n), 1e-2, 0.0, 0, quiet)["curve"] for n in (4, 12)]
    assert curves[0] == curves[1][: len(curves[0])]
    assert len({recall for _, recall in curves[1]}) > 1


def test_batches_do_not_come_from_the_stream_that_weights_are_drawn_from() -> None:
    first = next(losses(build(TINY, 3, 0), TINY, LR, 0.0, 0))
    assert first != next(losses(build(TINY, 3, 0), TINY, LR, 0.0, 1))  # the weights of one seed, the batches of another
    drawn_like_weights = drawn(TINY.task(), TINY.batch, seed=0)
    with torch.no_grad():
        assert first != hub_count.routing_nats(build(TINY, 3, 0), drawn_like_weights).item()


def test_the_full_surface_has_every_rate_five_seeds_a_cell_and_twenty_pairs_with_six_hubs() -> None:
    specs = hub_count.runs(Options(tier="full"))
    for rate in hub_count.RATES["full"]:
        cells = {
            arm: [(s.config["hubs"], s.seed) for s in specs if (s.config["arm"], s.config["lr"]) == (arm, rate)]
            for arm in hub_count.ARMS
        }
        pairs = [(6, seed) for seed in range(100, 120)]
        assert cells["orthogonal"] == pairs
        others = [(m, seed) for m in hub_count.GRID if m != 6 for seed in range(100, 105)]
        assert sorted(cells["plain"]) == sorted(pairs + others)
    assert (min(hub_count.GRID), max(hub_count.GRID)) == (1, 32)


@pytest.mark.parametrize("tier", ["quick", "full", "paper"])
def test_every_tier_lists_its_runs_once_and_can_be_built(tier: str) -> None:
    specs = hub_count.runs(Options(tier=tier))
    assert len({(s.config["arm"], s.config["hubs"], s.config["lr"], s.seed) for s in specs}) == len(specs)
    assert {s.config["tier"] for s in specs} == {tier}
    assert SIZES[tier].router(32).n_hubs == 32
    assert SIZES[tier].task().body_chunks >= 1
