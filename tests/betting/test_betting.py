"""Betting on models: mean wealth 1 on causal ones to the last digit, proof on leaky ones, the subject unchanged."""

import copy
import itertools
import json
import math
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from audits.__main__ import main
from audits.betting import BetConfig, BetVerdict, Stakes, bet, explain
from audits.betting.eprocess import EProcess, default_lr
from audits.betting.predictor import make_predictor
from audits.betting.wealth import mean_wealth
from audits.experiments.auditor.betting_study import Memory, settings_of
from audits.leaks import all_leaks, hub_selection_in_chunk
from audits.report.audit.bet_html import wealth_plot
from audits.subject.settings import Settings, SubjectError

PLANTED = {leak.name: leak for leak in all_leaks()}
SMALL = Settings(vocab_size=4, seq_len=12, batch=8)


def memory(vocab: int = 4, width: int = 4) -> Memory:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Memory(vocab, width)


class Peek(Memory):
    """Sees the next token."""

    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens) + super().forward(tokens.roll(-1, dims=1))


class PeekFar(Memory):
    """Sees the token three positions later, and none of those between."""

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens.roll(-3, dims=1))
        y: Tensor = self.head(torch.cat([x, x], dim=-1))
        return y


class MeanOfRows(Memory):
    """Depends on the other rows of the batch, at the same position and before."""

    def forward(self, tokens: Tensor) -> Tensor:
        y = super().forward(tokens)
        return y + y.mean(0, keepdim=True)


def seeded(kind: type[Memory], vocab: int = 4) -> Memory:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return kind(vocab, 4)


def mean_over_all_data(kind: type[Memory], rows: int, length: int, steps: int) -> float:
    """The exact mean of the wealth after `steps` steps of training, over all possible data."""
    settings = Settings(vocab_size=2, seq_len=length, batch=rows, dtype="float64")
    predictor, config = make_predictor(seeded(kind, 2), settings, 2), BetConfig(lr=0.1)
    flips = itertools.product(range(2), repeat=rows * length * steps)
    wealths = []
    for flip in flips:
        process = EProcess(copy.deepcopy(predictor), config)
        for batch in torch.tensor(flip).view(steps, rows, length):
            process.step(batch)
        wealths.append(math.exp(process.log_wealth[-1]))
    return sum(wealths) / len(wealths)


@pytest.mark.parametrize(("rows", "length", "steps"), [(1, 3, 2), (2, 2, 2), (1, 2, 3)])
def test_a_causal_model_trained_online_has_a_mean_wealth_of_exactly_1_over_all_data(rows, length, steps):
    assert mean_over_all_data(Memory, rows, length, steps) == pytest.approx(1.0, abs=1e-12)


def test_influence_of_other_rows_at_the_same_position_leaves_the_mean_wealth_at_exactly_1():
    assert mean_over_all_data(MeanOfRows, 2, 2, 2) == pytest.approx(1.0, abs=1e-12)


def test_a_leaky_model_trained_online_has_no_mean_wealth_of_1_over_all_data():
    # Before it has learnt anything, the leak may as well reduce its wealth; the mean is not exactly 1.
    assert abs(mean_over_all_data(Peek, 1, 3, 2) - 1.0) > 1e-3


@pytest.mark.parametrize("name", ["hub_bidirectional_council", "hub_own_chunk_summary", "next_token_match"])
def test_a_leak_is_proven_within_the_budget_and_its_clean_control_is_not(name):
    leak, settings = PLANTED[name], settings_of(PLANTED[name])
    result = bet(leak.leaky(), settings, BetConfig(steps=200))
    assert result.verdict is BetVerdict.LEAK
    assert result.log10_e_value >= 3
    assert (result.steps, result.stopped) == (result.proven_at, "proof")
    assert result.bits_per_token > 0
    control = bet(leak.clean(), settings, BetConfig(steps=40))
    assert control.verdict is BetVerdict.NOT_PROVEN
    assert "not a PASS" in explain(control)[0]


def test_a_hard_selection_is_proven_with_a_narrow_council_and_its_clean_control_is_not():
    settings, config = settings_of(PLANTED["hub_selection_in_chunk"]), BetConfig(steps=150, alphabets=(16,))
    assert bet(hub_selection_in_chunk.narrow_leaky(), settings, config).verdict is BetVerdict.LEAK
    assert bet(hub_selection_in_chunk.narrow_clean(), settings, config).verdict is BetVerdict.NOT_PROVEN


@torch.no_grad()
@pytest.mark.parametrize("version", ["leaky", "clean"])
def test_the_narrow_council_depends_on_later_tokens_only_where_the_leak_is_planted(version):
    model = getattr(hub_selection_in_chunk, f"narrow_{version}")().double()
    gen = torch.Generator().manual_seed(0)
    tokens, others = (torch.randint(32, (16, 29), generator=gen) for _ in range(2))
    others[:, :19] = tokens[:, :19]
    change = float((model(tokens) - model(others))[:, :19].abs().max())
    assert (change > 1e-3) == (version == "leaky")
    assert change > 1e-3 or change <= 1e-12


def test_a_feature_model_is_tested_through_an_embedding_and_a_readout():
    leak = PLANTED["same_padding"]
    assert bet(leak.leaky(), settings_of(leak), BetConfig(steps=40)).verdict is BetVerdict.LEAK
    assert bet(leak.clean(), settings_of(leak), BetConfig(steps=40)).verdict is BetVerdict.NOT_PROVEN


def test_a_plain_function_is_tested_through_a_readout():
    def peek(tokens: Tensor) -> Tensor:
        return nn.functional.one_hot(tokens.roll(-1, dims=1), 4).float()

    def recall(tokens: Tensor) -> Tensor:
        return nn.functional.one_hot(tokens, 4).float()

    assert bet(peek, SMALL, BetConfig(steps=60)).verdict is BetVerdict.LEAK
    assert bet(recall, SMALL, BetConfig(steps=60)).verdict is BetVerdict.NOT_PROVEN


def test_a_token_seen_three_positions_ahead_is_proven_by_betting_that_far():
    assert bet(seeded(PeekFar), SMALL, BetConfig(steps=60)).verdict is BetVerdict.NOT_PROVEN
    assert bet(seeded(PeekFar), SMALL, BetConfig(steps=60, ahead=3)).verdict is BetVerdict.LEAK


def test_the_subject_and_the_global_generators_are_left_as_they_were():
    model = memory().train()
    model.decay.requires_grad_(False)
    before, generators = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    bet(model, SMALL, BetConfig(steps=5))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [p.requires_grad for p in model.parameters()].count(False) == 1
    assert all(p.grad is None for p in model.parameters())
    assert model.training
    assert torch.equal(torch.get_rng_state(), generators)


def test_the_same_seed_gives_the_same_wealth_and_another_seed_another():
    def wealth(seed: int) -> list[tuple[float, ...]]:
        settings = Settings(vocab_size=4, seq_len=12, batch=4, seed=seed)
        return [summary.log_wealth for summary in bet(memory(), settings, BetConfig(steps=5)).predictors]

    assert wealth(1) == wealth(1)
    assert wealth(1) != wealth(2)


class BreaksDown(Peek):
    """Returns NaN from some call on."""

    def __init__(self, vocab: int, width: int, after: int = 3) -> None:
        super().__init__(vocab, width)
        self.after, self.calls = after, 0

    def forward(self, tokens: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(tokens) * (1.0 if self.calls <= self.after else float("nan"))


def test_training_that_breaks_down_certifies_nothing_and_says_so():
    result = bet(seeded(BreaksDown), SMALL, BetConfig(steps=100, alpha=1e-9))
    assert result.verdict is BetVerdict.NOT_PROVEN
    assert "not finite" in result.stopped
    assert result.steps < 100
    assert result.predictors[0].lost_steps >= 20
    assert "without an update" in explain(result)[-1]


def test_a_model_that_only_ever_returns_nan_cannot_be_tested():
    with pytest.raises(SubjectError, match="never finite"):
        bet(BreaksDown(4, 4, after=0), SMALL, BetConfig(steps=30))


def test_after_a_proof_the_test_continues_where_asked_and_the_e_value_stays_that_of_the_proof():
    short = bet(seeded(Peek), SMALL, BetConfig(steps=60))
    long = bet(seeded(Peek), SMALL, BetConfig(steps=60, to_the_end=True))
    assert long.steps == 60 > short.steps
    assert (long.proven_at, long.log10_e_value) == (short.proven_at, short.log10_e_value)
    assert long.bits_per_token > short.bits_per_token
    assert long.p_value <= short.p_value <= 1e-3


def test_the_time_budget_ends_a_test():
    result = bet(memory(), SMALL, BetConfig(steps=10_000, seconds=0.05))
    assert result.stopped == "time budget spent"
    assert result.steps < 10_000


def test_frozen_parameters_are_not_trained_and_all_others_are():
    model = memory()
    predictor = make_predictor(model, SMALL, 4, freeze=("head*",))
    EProcess(predictor, BetConfig()).step(torch.zeros(8, 12, dtype=torch.int64))
    changed = {
        name
        for name, value in predictor.subject.state_dict().items()
        if not torch.equal(value, model.state_dict()[name])
    }
    assert changed == {"embedding.weight", "decay"}


def test_wealth_divided_between_two_predictors_is_the_mean_of_theirs():
    assert mean_wealth([math.log(3), math.log(5)]) == pytest.approx(math.log(4))
    assert mean_wealth([5000.0, 0.0]) == pytest.approx(5000 - math.log(2))


def test_large_models_learn_at_a_smaller_rate():
    assert default_lr(100) == default_lr(10_000) == 1e-2
    assert default_lr(1_000_000) == pytest.approx(1e-3)


class Locked(Memory):
    def __deepcopy__(self, memo: object) -> "Locked":
        raise TypeError("cannot be copied")


BAD = [
    (BetConfig(alpha=0.0), "alpha must lie between 0 and 1"),
    (BetConfig(alpha=float("nan")), "alpha must lie between 0 and 1"),
    (BetConfig(steps=0), "steps must be at least 1"),
    (BetConfig(seconds=-1.0), "seconds must be above 0"),
    (BetConfig(ahead=12), "below seq_len=12"),
    (BetConfig(alphabets=()), "at least one size"),
    (BetConfig(alphabets=(1,)), "at least 2 symbols"),
    (BetConfig(lr=-1.0), "lr must be above 0"),
    (BetConfig(freeze=("router*",)), "matches no parameter"),
]


@pytest.mark.parametrize(("config", "message"), BAD, ids=[message for _, message in BAD])
def test_settings_out_of_range_are_refused_in_one_line(config, message):
    with pytest.raises(SubjectError, match=message) as refused:
        bet(memory(), SMALL, config)
    assert "\n" not in str(refused.value)


def test_the_former_public_name_of_the_settings_keeps_working():
    assert Stakes is BetConfig


def test_a_module_that_cannot_be_copied_is_refused():
    with pytest.raises(SubjectError, match="cannot be copied"):
        bet(seeded(Locked), SMALL, BetConfig(steps=1))


PEEK = '''
import torch
from torch import nn

class Peek(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(4, 8), nn.Linear(8, 4)
    def forward(self, tokens):
        print("a model that prints")
        return self.head(self.embedding(tokens.roll(-1, dims=1)))

class Recall(Peek):
    def forward(self, tokens):
        return self.head(self.embedding(tokens))

class OneCall(Recall):
    """Keeps the graph of the call before, so it cannot be trained twice."""
    kept = 0.0
    def forward(self, tokens):
        y = super().forward(tokens) + self.kept
        self.kept = y.mean()
        return y
'''


@pytest.fixture
def subjects(tmp_path: Path) -> str:
    file = tmp_path / "bet_subjects.py"
    file.write_text(PEEK)
    return str(file)


QUICK = ["--seq-len", "16", "--steps", "40"]


def test_the_command_exits_1_on_a_proof_and_its_document_is_all_of_standard_output(subjects, capsys):
    assert main(["bet", f"{subjects}:Peek", *QUICK, "--json", "-"]) == 1
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert (document["schema"], document["verdict"], document["alpha"]) == (1, "LEAK", 1e-3)
    assert document["log10_e_value"] >= 3
    assert document["gamblers"][0]["alphabet"] == 2
    assert "LEAK proven" in captured.err


def test_the_command_exits_0_without_a_proof_and_does_not_call_that_a_pass(subjects, tmp_path, capsys):
    out = tmp_path / "out.json"
    assert main(["bet", f"{subjects}:Recall", *QUICK, "--json", str(out)]) == 0
    assert "NOT PROVEN" in capsys.readouterr().out
    assert json.loads(out.read_text())["verdict"] == "NOT_PROVEN"


def test_the_page_draws_the_wealth_and_marks_a_proof_and_never_calls_its_absence_a_pass(subjects, tmp_path):
    pages = {}
    for name, code in (("Peek", 1), ("Recall", 0)):
        out = tmp_path / f"{name}.html"
        assert main(["bet", f"{subjects}:{name}", *QUICK, "--html", str(out)]) == code
        pages[name] = out.read_text()
    assert "proven after" in pages["Peek"]
    assert "✗ LEAK" in pages["Peek"]
    assert "proven after" not in pages["Recall"]
    assert "? NOT PROVEN" in pages["Recall"]
    assert "✓" not in pages["Recall"]


def test_the_figure_of_a_long_test_keeps_its_last_step_and_stays_small():
    result = bet(seeded(Peek), SMALL, BetConfig(steps=3))
    summary = replace(result.predictors[0], log_wealth=tuple(0.5 * step for step in range(5000)))
    drawn = ET.fromstring(wealth_plot("w", replace(result, predictors=(summary,), steps=5000, proven_at=None)))
    (curve,) = [e.get("d") for e in drawn.iter() if e.get("class") == "curve arm0" and len(e.get("d")) > 50]
    assert 200 < curve.count("L") < 700
    assert curve.rpartition("L")[2].split()[0] == "538.0"  # the right edge


def test_the_wealth_of_a_test_is_the_mean_of_its_predictors_and_crosses_the_line_at_the_proof():
    result = bet(seeded(Peek), SMALL, BetConfig(steps=60))
    assert len(result.predictors) == 2
    crossed = next(step for step, log in enumerate(result.log_wealth, 1) if log >= math.log(1000))
    assert crossed == result.proven_at


COMMAND_LINES = [
    (["{file}:Peek", "--html", "-"], "only --json can go to standard output"),
    (["{file}:Peek", "--json", "x", "--html", "x"], "a different one"),
    ([], "the following arguments are required: TARGET"),
    (["{file}:nothing"], "no attribute 'nothing'"),
    (["{file}:Peek", "--alpha", "2"], "alpha must lie between 0 and 1"),
    (["{file}:Peek", "--alphabets", "two"], "argument --alphabets: 'two'"),
    (["{file}:Peek", "--device", "warp"], "device 'warp'"),
    (["{file}:Peek", "--freeze", "router"], "matches no parameter; the first names are: embedding.weight"),
    (["{file}:Peek", "--input", "features"], "--width"),
    (["{file}:Peek", "--vocab-size", "9"], "IndexError"),
    (["{file}:OneCall"], "training the copy raised RuntimeError"),
]


@pytest.mark.parametrize(("words", "message"), COMMAND_LINES, ids=[message for _, message in COMMAND_LINES])
def test_what_cannot_run_exits_2_with_one_clear_line(words, message, subjects, capsys):
    try:
        code = main(["bet", *(word.replace("{file}", subjects) for word in words), *QUICK])
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    captured = capsys.readouterr()
    assert code == 2, captured
    assert message in captured.err
    assert captured.err.replace("a model that prints\n", "").count("\n") == 1
