"""Training and evaluation: paired batches, recorded divergence, exact losses, and a model left as it was found."""

import dataclasses
import math

import pytest
import torch
from torch import Tensor, nn

from audits.experiments.training.corpus import Corpus, CorpusError
from audits.experiments.training.training import (
    Divergence,
    TrainingConfig,
    TrainingError,
    batches,
    evaluate,
    train,
    unigram_nats,
)

V = 7
SMALL = TrainingConfig(steps=40, batch=4, seq_len=16, warmup=5, lr=0.02, curve_points=8)
BRIEF = TrainingConfig(steps=2, batch=4, seq_len=100, warmup=0, lr=1e-6)


def cycle(length: int) -> Tensor:
    """Tokens that say exactly what follows: 0 1 2 ... 6 0 1 ..."""
    return torch.arange(length) % V


def corpus(train_tokens: Tensor, valid: Tensor | None = None) -> Corpus:
    valid = cycle(200) if valid is None else valid
    return Corpus("made up", "0" * 64, 1000, train_tokens, valid, V, valid.numel())


class Bigram(nn.Module):
    """Logits [B, N, V] from the current token alone; dropout and a module kept in eval mode make modes visible."""

    def __init__(self, seed: int = 0, dropout: float = 0.0) -> None:
        super().__init__()
        self.embed = nn.Embedding(V, 16)
        self.head = nn.Linear(16, V)
        self.dropout = nn.Dropout(dropout)
        self.inner = nn.Dropout(0.5).eval()
        self.seen: list[Tensor] = []
        generator = torch.Generator().manual_seed(seed)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.1, generator=generator)

    def forward(self, tokens: Tensor) -> Tensor:
        self.seen.append(tokens.clone())
        logits: Tensor = self.head(self.dropout(self.embed(tokens)))
        return logits


class Constant(nn.Module):
    """The same logits everywhere: `scores` [V]."""

    def __init__(self, scores: Tensor) -> None:
        super().__init__()
        self.scores = nn.Parameter(scores)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.scores.expand(*tokens.shape, -1)


def silent(done: int, total: int, note: str = "") -> None:
    """Progress that nobody looks at."""


def test_training_learns_what_follows_what() -> None:
    model = Bigram()
    before = evaluate(model, cycle(200), 16, 4)
    outcome = train(model, corpus(cycle(2000)), SMALL, 0, silent)
    assert before == pytest.approx(math.log(V), abs=0.1)
    assert evaluate(model, cycle(200), 16, 4) < 0.5
    assert not outcome.diverged
    assert outcome.curve[-1].nats < 0.7 < outcome.curve[0].nats
    assert outcome.seconds > 0


def test_the_curve_covers_every_step_once() -> None:
    outcome = train(Bigram(), corpus(cycle(2000)), TrainingConfig(10, 4, 16, warmup=2, curve_points=4), 0, silent)
    assert [point.step for point in outcome.curve] == [3, 6, 9, 10]


def test_two_arms_with_one_seed_see_the_same_batches_whatever_the_model() -> None:
    tokens = torch.randint(V, (3000,), generator=torch.Generator().manual_seed(1))
    plain, other = Bigram(0), Bigram(1, dropout=0.5)
    train(plain, corpus(tokens), SMALL, 3, silent)
    torch.rand(5)  # the global generator's state must not matter
    train(other, corpus(tokens), SMALL, 3, silent)
    assert all(torch.equal(a, b) for a, b in zip(plain.seen, other.seen, strict=True))
    another = Bigram(0)
    train(another, corpus(tokens), SMALL, 4, silent)
    assert not torch.equal(plain.seen[0], another.seen[0])


def test_targets_are_the_tokens_that_follow_and_every_place_is_drawn() -> None:
    tokens = torch.arange(20)
    drawn = list(batches(tokens, TrainingConfig(steps=200, batch=2, seq_len=17, warmup=0), 0))
    assert len(drawn) == 200
    for inputs, targets in drawn:
        assert inputs.shape == targets.shape == (2, 17)
        assert torch.equal(targets, inputs + 1)
    assert {int(inputs[row, 0]) for inputs, _ in drawn for row in range(2)} == {0, 1, 2}


def test_the_same_seed_gives_the_same_model_bit_for_bit() -> None:
    models = [Bigram(0, dropout=0.3), Bigram(0, dropout=0.3)]
    curves = [train(model, corpus(cycle(2000)), SMALL, 5, silent).curve for model in models]
    assert curves[0] == curves[1]
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(one, other)


def test_modes_gradients_and_the_global_generator_are_left_as_they_were() -> None:
    model = Bigram(0, dropout=0.3)
    model.dropout.eval()
    state = torch.random.get_rng_state()
    train(model, corpus(cycle(2000)), SMALL, 0, silent)
    evaluate(model, cycle(200), 16, 4)
    assert model.training
    assert not model.dropout.training
    assert not model.inner.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.random.get_rng_state(), state)


def test_modes_are_restored_after_an_error() -> None:
    model = Bigram()
    with pytest.raises(IndexError):
        evaluate(model, cycle(200) + V, 16, 4)
    assert model.training


class Exploding(Constant):
    """Becomes not-a-number at the given forward."""

    def __init__(self, at: int) -> None:
        super().__init__(torch.zeros(V))
        self.left = at

    def forward(self, tokens: Tensor) -> Tensor:
        self.left -= 1
        return super().forward(tokens) * (math.nan if self.left == 0 else 1.0)


def test_a_loss_that_is_not_finite_is_recorded_as_divergence_and_ends_the_run() -> None:
    notes = []
    outcome = train(Exploding(7), corpus(cycle(2000)), SMALL, 0, lambda done, total, note="": notes.append(note))
    assert outcome.diverged
    assert outcome.curve[-1].step == 6
    assert all(math.isfinite(point.nats) for point in outcome.curve)
    assert notes[-1] == "diverged at step 7"


def test_a_run_that_diverges_at_once_has_an_empty_curve() -> None:
    outcome = train(Exploding(1), corpus(cycle(2000)), SMALL, 0, silent)
    assert (outcome.diverged, outcome.curve) == (True, ())


class InfiniteGradient(Constant):
    """A finite loss whose gradient is not: the root of zero."""

    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens) + (self.scores - self.scores.detach()).sqrt()


def test_a_gradient_that_is_not_finite_is_divergence_and_leaves_the_weights_alone() -> None:
    model = InfiniteGradient(torch.zeros(V))
    outcome = train(model, corpus(cycle(2000)), SMALL, 0, silent)
    assert outcome.diverged
    assert outcome.curve[0].nats == pytest.approx(math.log(V))
    assert torch.equal(model.scores, torch.zeros(V))


def test_a_final_loss_above_the_unigram_entropy_is_divergence() -> None:
    skewed = torch.where(torch.arange(2000) % 10 < 3, 1, 0)  # its entropy is .61 nats
    wrong, right = (Constant(torch.tensor([zero, one, *[-50.0] * 5])) for zero, one in ((0.0, 3.0), (3.0, 2.2)))
    assert train(wrong, corpus(skewed, skewed[:200]), BRIEF, 0, silent).diverged
    assert not train(right, corpus(skewed, skewed[:200]), BRIEF, 0, silent).diverged


def test_unigram_entropy_of_counts_with_one_added() -> None:
    train_tokens, valid = torch.tensor([0, 0, 0, 1]), torch.tensor([0, 1, 2])
    expected = -(math.log(4 / 7) + math.log(2 / 7) + math.log(1 / 7)) / 3
    assert unigram_nats(train_tokens, valid, 3) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_evaluation_is_the_mean_over_all_whole_windows(batch: int) -> None:
    tokens = torch.randint(V, (50,), generator=torch.Generator().manual_seed(0))
    scores = torch.randn(V, generator=torch.Generator().manual_seed(1))
    expected = -scores.log_softmax(0)[tokens[1:49]].mean()
    assert evaluate(Constant(scores), tokens, 8, batch) == pytest.approx(float(expected), rel=1e-6)
    limited = -scores.log_softmax(0)[tokens[1:17]].mean()
    assert evaluate(Constant(scores), tokens, 8, batch, max_tokens=20) == pytest.approx(float(limited), rel=1e-6)
    single = -scores.log_softmax(0)[tokens[1:9]].mean()
    assert evaluate(Constant(scores), tokens, 8, batch, max_tokens=1) == pytest.approx(float(single), rel=1e-6)


def test_evaluation_windows_do_not_overlap() -> None:
    model = Bigram()
    evaluate(model, torch.arange(50) % V, 8, 4)
    rows = torch.cat(model.seen)
    assert torch.equal(rows.flatten(), torch.arange(48) % V)


def test_evaluation_of_a_broken_model_is_not_finite_rather_than_an_error() -> None:
    assert math.isnan(evaluate(Exploding(1), cycle(200), 16, 100))


def test_evaluation_keeps_double_precision() -> None:
    scores = torch.zeros(V, dtype=torch.float64)
    scores[0] = 1e-12
    tokens = torch.zeros(17, dtype=torch.int64)
    assert evaluate(Constant(scores), tokens, 16, 1) - math.log(V) == pytest.approx(-1e-12 * (1 - 1 / V), rel=0.01)


def test_the_learning_rate_rises_then_falls_to_its_share() -> None:
    config = TrainingConfig(steps=11, warmup=4, lr=1.0, final_lr=0.1)
    rates = [config.rate(step) for step in range(11)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4] == 1.0
    assert rates[7] == pytest.approx(0.55)
    assert rates[10] == pytest.approx(0.1)
    assert rates[4:] == sorted(rates[4:], reverse=True)


def test_a_learning_rate_of_the_schedule_reaches_the_optimizer() -> None:
    def moved(lr: float) -> float:
        model = Constant(torch.zeros(V))
        train(model, corpus(cycle(2000) % 3), TrainingConfig(1, 4, 16, lr=lr, warmup=0), 0, silent)
        return float(model.scores.detach().abs().max())

    assert moved(0.1) == pytest.approx(0.1, rel=1e-3)  # Adam's first step is the learning rate
    assert moved(0.2) == pytest.approx(0.2, rel=1e-3)


def test_matrices_decay_and_vectors_do_not() -> None:
    class Unused(Constant):
        def __init__(self) -> None:
            super().__init__(torch.zeros(V))
            self.matrix, self.vector = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))
            self.marked = nn.Parameter(torch.ones(2, 2))
            self.marked._no_weight_decay = True  # type: ignore[attr-defined]

        def forward(self, tokens: Tensor) -> Tensor:
            return super().forward(tokens) + 0 * (self.matrix.sum() + self.vector.sum() + self.marked.sum())

    model = Unused()
    train(model, corpus(cycle(2000)), SMALL, 0, silent)
    assert torch.equal(model.vector, torch.ones(2))
    assert torch.equal(model.marked, torch.ones(2, 2))
    assert bool((model.matrix < 0.999).all())


def test_frozen_parameters_stay_and_a_model_without_trainable_ones_is_refused() -> None:
    model = Bigram()
    model.embed.weight.requires_grad_(False)
    before = model.embed.weight.clone()
    train(model, corpus(cycle(2000)), SMALL, 0, silent)
    assert torch.equal(model.embed.weight, before)
    with pytest.raises(TrainingError, match="no trainable parameter"):
        train(model.requires_grad_(False), corpus(cycle(2000)), SMALL, 0, silent)


def test_progress_is_reported_after_every_step() -> None:
    reported = []
    train(Bigram(), corpus(cycle(2000)), SMALL, 0, lambda done, total, note="": reported.append((done, total)))
    assert reported == [(step, 40) for step in range(1, 41)]


def test_texts_too_short_are_refused() -> None:
    with pytest.raises(CorpusError, match="training part has 30 tokens"):
        train(Bigram(), corpus(cycle(30)), SMALL, 0, silent)
    with pytest.raises(TrainingError, match="16 tokens do not fill a window of 16"):
        evaluate(Bigram(), cycle(16), 16, 4)


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"steps": 0}, "steps is 0; it must be above 0"),
        ({"lr": math.nan}, "lr is nan"),
        ({"batch": -1}, "batch is -1"),
        ({"warmup": 350}, "warmup is 350; it must be at least 0 and below steps"),
    ],
)
def test_an_impossible_configuration_is_refused(setting: dict[str, float], says: str) -> None:
    with pytest.raises(TrainingError, match=says):
        TrainingConfig(**setting)  # type: ignore[arg-type]


def test_a_penalty_is_minimised_too_and_the_curve_holds_the_cross_entropy_alone() -> None:
    def heavy(model: nn.Module) -> Tensor:
        return 1000 + 100 * sum(p.square().sum() for p in model.parameters())

    plain, penalised = Bigram(), Bigram()
    free = train(plain, corpus(cycle(2000)), SMALL, 0, silent)
    held = train(penalised, corpus(cycle(2000)), SMALL, 0, silent, penalty=heavy)
    assert held.curve[0].nats < 3
    assert held.curve[-1].nats > free.curve[-1].nats + 0.5
    assert heavy(penalised).item() - 1000 < (heavy(plain).item() - 1000) / 2


def test_a_penalty_that_is_not_a_scalar_is_refused() -> None:
    with pytest.raises(TrainingError, match=r"penalty has shape \(7, 16\); it must be a scalar"):
        train(Bigram(), corpus(cycle(2000)), SMALL, 0, silent, penalty=lambda model: model.embed.weight)


def test_what_a_run_died_of_is_recorded_with_its_step() -> None:
    assert train(Exploding(7), corpus(cycle(2000)), SMALL, 0, silent).divergence == Divergence("loss is NaN", 7)
    infinite = train(InfiniteGradient(torch.zeros(V)), corpus(cycle(2000)), SMALL, 0, silent).divergence
    assert infinite is not None
    assert infinite.reason.startswith("gradient is ")
    assert infinite.step == 1
    skewed = torch.where(torch.arange(2000) % 10 < 3, 1, 0)
    wrong = Constant(torch.tensor([0.0, 3.0, *[-50.0] * 5]))
    outcome = train(wrong, corpus(skewed, skewed[:200]), BRIEF, 0, silent)
    assert outcome.divergence == Divergence("final loss is above the unigram entropy", 2)
    assert train(Bigram(), corpus(cycle(2000)), SMALL, 0, silent).divergence is None


def test_a_resumed_batch_stream_goes_on_where_it_was() -> None:
    tokens = torch.randint(V, (300,), generator=torch.Generator().manual_seed(0))
    whole = list(batches(tokens, SMALL, 3))
    for done in (0, 1, 39, 40):
        rest = list(batches(tokens, SMALL, 3, done))
        assert len(rest) == 40 - done
        assert all(torch.equal(a[0], b[0]) for a, b in zip(whole[done:], rest, strict=True))


def test_compiling_is_asked_for_by_the_configuration_and_is_off_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[nn.Module] = []
    monkeypatch.setattr(torch, "compile", lambda model: compiled.append(model) or model)
    for wanted, expected in ((None, 0), (False, 0), (True, 1)):
        compiled.clear()
        train(Bigram(), corpus(cycle(2000)), dataclasses.replace(BRIEF, compiled=wanted), 0, silent)
        assert len(compiled) == expected
