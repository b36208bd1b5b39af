"""The distant study: only one far token determines a label, arms start alike, and the judged runs follow the tuning."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from audits.evidence.experiment import Options, RunSpec
from audits.evidence.ledger import Evidence, Record
from audits.experiments.language_models import distant
from audits.experiments.language_models._distant_tasks import NOWHERE, Questions, Repeats
from hubrouter.diagnostic.tasks.mqar import IGNORED

FULL = Options("full")
SMALL = replace(
    distant.SIZES["full"],
    model={"d_model": 16, "mlp_ratio": 1, "n_hubs": 2, "k": 4, "chunk": 4, "window": 4},
    stages={
        "mqar": (distant.recall(2, 2, 16, 4), distant.recall(1, 2, 32, 4)),
        "repeats": (distant.recall(2, 2, 16, 4), distant.repeats(1, 2, 64, 4, 4, 16)),
    },
    held_out=16,
)


COPIES = distant.repeats(1, 1, 64, 4, 4, 16)


def quiet(done: int, total: int, note: str = "") -> None:
    """No progress is shown."""


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Options:
    monkeypatch.setitem(distant.SIZES, "full", SMALL)
    return FULL


def spec(options: Options, task: str, arm: str, seed: int = 100) -> RunSpec:
    tuning = next(s for s in distant.runs(options) if (s.config["task"], s.config["arm"]) == (task, arm))
    return replace(tuning, seed=seed)


def drawn(stage: distant.Stage, vocab_size: int = 64, batch: int = 40) -> Questions:
    return stage.draw(vocab_size, batch, torch.Generator().manual_seed(1))


@pytest.mark.parametrize("tier", ["full", "paper"])
@pytest.mark.parametrize("name", ["mqar", "repeats"])
def test_a_label_is_the_token_at_its_evidence_after_the_only_earlier_occurrence_of_the_query(
    name: str, tier: str
) -> None:
    size = distant.SIZES[tier]
    for stage in size.stages[name]:
        tokens, labels, evidence = drawn(stage, size.vocab_size, 4)
        asked = labels != IGNORED
        assert torch.equal(asked, evidence != NOWHERE)
        row, at = asked.nonzero(as_tuple=True)
        assert torch.equal(tokens[row, evidence[asked]], labels[asked])
        assert torch.equal(tokens[row, evidence[asked] - 1], tokens[asked])
        earlier = (tokens[row] == tokens[asked][:, None]) & (torch.arange(tokens.shape[1]) < at[:, None])
        assert (earlier.sum(1) == 1).all()


def test_the_last_sequences_have_the_distances_that_are_stated() -> None:
    for name, nearest in (("mqar", 2), ("repeats", 256)):
        size = distant.SIZES["full"]
        questions = drawn(size.stages[name][-1], size.vocab_size)
        at = (questions.labels != IGNORED).nonzero(as_tuple=True)[1]
        distance = at - questions.evidence[questions.evidence != NOWHERE]
        assert questions.tokens.shape[1] == 512
        assert distance.min() >= nearest
        assert len(distance.unique()) > 40  # no fixed offset copies


def test_the_next_token_of_a_copy_is_the_label() -> None:
    tokens, labels, _ = drawn(COPIES)
    row, at = (labels != IGNORED).nonzero(as_tuple=True)
    assert torch.equal(tokens[row, at + 1], labels[row, at])


@pytest.mark.parametrize("sizes", [(64, 64, 5, 4, 16), (16, 64, 4, 4, 16), (64, 31, 4, 4, 16), (64, 64, 4, 3, 16)])
def test_spans_that_do_not_fit_are_refused(sizes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"fit|need"):
        Repeats(*sizes)


def test_all_arms_of_a_seed_start_alike_where_shapes_agree_and_see_the_same_sequences(small: Options) -> None:
    reference = distant.build(spec(small, "mqar", distant.ROUTED).config["model"], 3)
    for arm in distant.ARMS:
        model = distant.build(spec(small, "mqar", arm).config["model"], 3)
        shared = {k: v for k, v in model.state_dict().items() if k in reference.state_dict()}
        assert {"embedding.weight", "blocks.1.mixer.project.weight", "blocks.1.mlp.0.weight"} <= shared.keys()
        assert all(torch.equal(value, reference.state_dict()[name]) for name, value in shared.items())
    other = distant.build(spec(small, "mqar", distant.ROUTED).config["model"], 4)
    assert not torch.equal(other.embedding.weight, reference.embedding.weight)


@pytest.mark.parametrize("arm", list(distant.ARMS))
@pytest.mark.parametrize("task", ["mqar", "repeats"])
def test_a_run_counts_every_question_once(small: Options, task: str, arm: str) -> None:
    result = distant.execute(spec(small, task, arm, distant.TUNING_SEED), small, quiet)
    labels = {"mqar": 4, "repeats": 12}[task] * SMALL.held_out
    assert result["own_chunk"][0] + result["kept"][0] + result["distant"][0] == labels
    assert sum(part[2] for part in result["distances"]) == result["distant"][0]
    assert [sum(column) for column in zip(*result["blocks"], strict=True)] == result["distant"]
    assert len(result["selected"]) == (0 if arm in ("attention", "window", distant.LOCAL) else 2)
    assert not result["diverged"]


def test_the_same_seed_gives_the_same_run_and_another_one_another(small: Options) -> None:
    first, again, other = (
        distant.execute(spec(small, "repeats", distant.ROUTED, seed), small, quiet) for seed in (900, 900, 901)
    )
    assert first == again
    assert first["nats"] != other["nats"]


def test_a_judged_model_is_audited(small: Options) -> None:
    assert distant.execute(spec(small, "mqar", distant.ROUTED), small, quiet)["audit"] == "PASS"


def test_accuracy_is_that_of_the_questions_asked() -> None:
    questions = drawn(COPIES)

    class Oracle(torch.nn.Module):
        """Answers every question but those of the first sequence."""

        embedding = torch.nn.Embedding(64, 1)

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            at = (questions.tokens[:, None] == tokens).all(-1).int().argmax(0)
            logits = torch.nn.functional.one_hot(questions.labels[at].clamp_min(0), 64).float()
            return logits * (at > 0)[:, None, None]

    found = distant.answers(Oracle(), questions)  # type: ignore[arg-type]
    assert found.correct[found.row > 0].all()
    assert not found.correct[found.row == 0].any()


def test_judged_runs_follow_the_lowest_tuning_loss(small: Options) -> None:
    tuning = distant.runs(small)

    def record(run: RunSpec, nats: float | None) -> Record:
        result: dict[str, Any] = {"tuning_nats": nats}
        return Record(run.experiment, run.config, run.seed, result, {}, 1.0)

    rates = SMALL.rates
    losses = {rates[0]: 2.0, rates[1]: None, rates[2]: 1.0}
    made = [record(run, losses[run.config["lr"]]) for run in tuning]
    assert not distant.judged(small, Evidence())
    followed = distant.judged(small, Evidence(tuple(made)))
    assert {run.config["lr"] for run in followed} == {rates[2]}
    assert len(followed) == 2 * len(distant.ARMS) * 3
    assert {run.seed for run in followed} == {100, 101, 102}
    lost = distant.judged(small, Evidence(tuple(record(run, None) for run in tuning)))
    assert {run.config["lr"] for run in lost} == {rates[1]}
    incomplete = distant.judged(small, Evidence(tuple(made[1:])))
    assert len(incomplete) == len(followed) - 3


def test_the_quick_tier_has_no_runs() -> None:
    assert not distant.EXPERIMENT.planned(Options("quick"), Evidence())


def test_the_paper_tier_takes_two_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    paper = distant.SIZES["paper"]
    short = {task: tuple(s._replace(steps=1, batch=2) for s in stages[-2:]) for task, stages in paper.stages.items()}
    monkeypatch.setitem(distant.SIZES, "paper", replace(paper, stages=short, held_out=16))
    result = distant.execute(spec(Options("paper"), "mqar", distant.ROUTED, 900), Options("paper"), quiet)
    assert sum(result[part][0] for part in ("own_chunk", "kept", "distant")) == 16 * 64


def test_the_rate_rises_stays_and_falls() -> None:
    rates = [distant.rate_at(step, 100, 1.0) for step in range(100)]
    assert rates[0] < rates[4] == rates[50] == 1.0
    assert rates[99] < 0.2
