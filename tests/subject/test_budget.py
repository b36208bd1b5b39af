"""A budget ends an audit, and what was not run is never a PASS; progress is reported."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import auditor_models as models
import pytest
import torch
from auditor_models import LENGTH, VOCAB, Attention, Tokens
from rich.console import Console
from torch import Tensor, nn

from audits import SubjectError, audit
from audits.__main__ import main
from audits.cli._waiting import duration, estimate, waiting
from audits.instruments.differences import Changes, Comparison
from audits.probes import all_probes
from audits.results import Verdict
from audits.subject import budget
from audits.subject.budget import Budget, OutOfTime
from audits.subject.prepare import prepare
from audits.subject.progress import PREPARING, AuditClock, Progress
from audits.subject.settings import Settings


class Clock:
    """A clock that only forward passes move. A class, because an audit puts objects back to how they were."""

    now = 0.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> type[Clock]:
    monkeypatch.setattr(Clock, "now", 0.0)
    monkeypatch.setattr(budget.time, "monotonic", lambda: Clock.now)
    return Clock


class Timed(nn.Module):
    """A model whose forward pass takes a second of that clock, and as much more for every row after the first."""

    def __init__(self, model: nn.Module, row: float = 0.0) -> None:
        super().__init__()
        self.model, self.row = model, row

    def forward(self, tokens: Tensor) -> Tensor:
        Clock.now += 1 + self.row * (len(tokens) - 1)
        output: Tensor = self.model(tokens)
        return output


def timed(causal: bool, row: float = 0.0) -> Timed:
    torch.manual_seed(0)
    return Timed(Tokens(Attention(causal)), row)


@pytest.mark.parametrize("seconds", [0.5, 1, 10, 15, 20, 30, 50, 80])
def test_whatever_the_budget_nothing_that_was_not_run_passes(clock: type[Clock], seconds: float) -> None:
    result = audit(timed(causal=True), vocab_size=VOCAB, seq_len=LENGTH, budget=seconds)
    short = [probe for probe in result.probes if "ran out" in probe.why]
    assert bool(short) == (result.verdict is Verdict.UNDETERMINED)
    assert all(probe.verdict is Verdict.UNDETERMINED and probe.applicable for probe in short)
    assert clock.now <= seconds + 1  # the pass that was under way
    assert result.settings["budget"] == seconds
    assert result.findings == ()


def test_a_budget_that_suffices_changes_nothing(clock: type[Clock]) -> None:
    result = audit(timed(causal=True), vocab_size=VOCAB, seq_len=LENGTH, budget=10_000)
    assert result.verdict is Verdict.PASS


def test_a_leak_found_before_the_budget_ran_out_stands(clock: type[Clock]) -> None:
    verdicts = {}
    for seconds in (1, 3, 5, *range(10, 65, 5)):
        clock.now = 0.0
        result = audit(timed(causal=False), vocab_size=VOCAB, seq_len=LENGTH, budget=seconds)
        assert bool(result.findings) == (result.verdict is Verdict.LEAK)
        assert result.verdict is not Verdict.PASS
        verdicts[seconds] = result.verdict
    assert set(verdicts.values()) == {Verdict.UNDETERMINED, Verdict.LEAK}
    assert verdicts[60] is Verdict.LEAK
    first = min(seconds for seconds, verdict in verdicts.items() if verdict is Verdict.LEAK)
    assert all(verdict is Verdict.LEAK for seconds, verdict in verdicts.items() if seconds >= first)


def test_a_leak_without_time_to_find_its_latest_source_is_reported_with_the_one_that_showed_it(
    clock: type[Clock],
) -> None:
    sources = {}
    for left in (30, 100):
        clock.now = 0.0
        subject = prepare(timed(causal=False), Settings(vocab_size=VOCAB, seq_len=LENGTH), AuditClock(Budget(1000)))
        comparison = Comparison(subject, subject.base())
        changed = torch.cat([comparison.base[:, :4], (comparison.base[:, 4:] + 1) % VOCAB], dim=1)
        clock.now = 1000 - left
        judged = comparison.confirm(Changes(changed, torch.tensor([4])), 0)
        assert judged.leaks
        sources[left] = judged.violation.source.position
    assert sources == {30: 4, 100: LENGTH - 1}


def test_a_probe_that_is_cut_short_says_how_far_it_came(clock: type[Clock]) -> None:
    result = audit(timed(causal=True, row=0.5), vocab_size=VOCAB, seq_len=LENGTH, budget=60)
    whys = {probe.name: probe.why for probe in result.probes}
    assert any("ran out after" in why for why in whys.values())
    assert whys["provenance"].startswith("no output depends on a later token")  # it costs least, so it ran first
    late = [why for why in whys.values() if why.startswith("not run")]
    assert set(late) <= {"not run: the budget of 60 s ran out"}


def test_with_little_time_the_first_changes_cover_the_whole_length(clock: type[Clock]) -> None:
    """A leak at the last position alone is found in a few dozen sequences, not after all earlier cuts."""

    class End(models.Mixer):
        def after(self, y: Tensor, x: Tensor) -> Tensor:
            return torch.cat([y[:, :-8], y[:, -8:] + x[:, -8:].flip(1)], dim=1)

    torch.manual_seed(0)
    model = Timed(Tokens(End()), row=1.0)
    result = audit(model, vocab_size=VOCAB, seq_len=96, budget=120, probes=["perturbation"])
    assert result.verdict is Verdict.LEAK


def test_rows_are_fewer_where_a_batch_would_take_the_budget_and_as_asked_where_they_are_free(
    clock: type[Clock],
) -> None:
    settings = Settings(vocab_size=VOCAB, seq_len=LENGTH)
    free = prepare(timed(causal=True), settings, AuditClock(Budget(64)))
    assert free.settings.batch == 32
    clock.now = 0.0
    expensive = prepare(timed(causal=True, row=1.0), settings, AuditClock(Budget(64)))
    assert 1 < expensive.settings.batch < 8


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), "long"])
def test_a_budget_that_is_none_is_one_line(seconds: object) -> None:
    with pytest.raises(SubjectError, match="number of seconds above 0"):
        audit(Tokens(Attention()), seq_len=8, budget=seconds)


def test_a_forward_pass_that_does_not_end_is_interrupted_if_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Endless(models.Mixer):
        def after(self, y: Tensor, x: Tensor) -> Tensor:
            while True:
                time.sleep(0.01)

    monkeypatch.setattr(budget, "GRACE", 0.05)
    before = signal.getsignal(signal.SIGALRM)
    result = audit(Tokens(Endless()), seq_len=8, budget=Budget(0.05, interrupt=True))
    assert {probe.verdict for probe in result.probes} == {Verdict.UNDETERMINED}
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_backward_pass_that_does_not_end_is_ended_too(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stuck(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: object, grad: Tensor) -> Tensor:
            while True:
                time.sleep(0.01)

    class Endless(models.Mixer):
        def after(self, y: Tensor, x: Tensor) -> Tensor:
            return Stuck.apply(y)

    monkeypatch.setattr(budget, "GRACE", 0.05)
    result = audit(Tokens(Endless()), seq_len=8, budget=Budget(3, interrupt=True), probes=["gradient"])
    assert result.verdict is Verdict.UNDETERMINED
    assert "ran out" in result.probes[0].why


def test_running_out_of_time_is_not_taken_for_the_models_refusal() -> None:
    assert not issubclass(OutOfTime, Exception)


# -- the command ---------------------------------------------------------------------------------------------------

SUBJECTS = """
import time
from torch import nn

class Endless(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(20, 8)
    def forward(self, tokens):
        while True:
            time.sleep(0.01)

class Stubborn(Endless):
    def forward(self, tokens):
        while True:
            try:
                time.sleep(1)
            except BaseException:
                pass

def slow_factory():
    while True:
        time.sleep(0.01)
"""


@pytest.fixture
def subjects(tmp_path: Path) -> str:
    file = tmp_path / "subjects.py"
    file.write_text(SUBJECTS)
    return str(file)


def test_the_command_ends_a_model_that_does_not_and_writes_what_it_knows(
    subjects: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "GRACE", 0.05)
    files = {name: tmp_path / f"out.{name}" for name in ("json", "sarif", "html")}
    written = [word for name, file in files.items() for word in (f"--{name}", str(file))]
    assert main(["model", f"{subjects}:Endless", "--budget", "0.1", *written]) == 3
    document = json.loads(files["json"].read_text())
    assert document["verdict"] == "UNDETERMINED"
    assert len(document["probes"]) == len(all_probes())
    assert all("ran out" in probe["why"] for probe in document["probes"])
    assert "UNDETERMINED" in files["html"].read_text()


def test_a_factory_that_does_not_end_is_one_line(
    subjects: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "GRACE", 0.05)
    assert main(["model", f"{subjects}:slow_factory", "--budget", "0.1"]) == 3
    captured = capsys.readouterr()
    assert captured.err == "hubrouter-audit: the budget of 0.1 s ran out while the target was built: nothing was run\n"


def test_a_model_that_cannot_be_stopped_ends_the_process(subjects: str) -> None:
    code = (
        "import audits.subject.budget as b, audits.cli._waiting as l; b.GRACE, l.PATIENCE = 0.1, 0.1\n"
        f"from audits.__main__ import main; main(['model', {f'{subjects}:Stubborn'!r}, '--budget', '0.5'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 3
    assert done.stderr == "hubrouter-audit: the budget of 0.5 s ran out, and the model cannot be stopped\n"


@pytest.mark.parametrize("words", ["0", "-3", "nan", "inf", "soon"])
def test_a_budget_on_the_command_line_is_a_number_above_0(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["model", "x:y", "--budget", words])
    assert stopped.value.code == 2
    assert "seconds above 0" in capsys.readouterr().err


# -- progress ------------------------------------------------------------------------------------------------------


def test_every_stage_is_reported_in_order_and_the_count_never_falls() -> None:
    reports: list[Progress] = []
    result = audit(Tokens(Attention()), seq_len=8, watch=reports.append)
    stages = list(dict.fromkeys(now.stage for now in reports))
    assert stages[0] == PREPARING
    assert sorted(stages[1:]) == sorted(probe.name for probe in result.probes)
    counts = [now.forwards for now in reports]
    assert counts == sorted(counts)
    assert all(now.forwards <= now.expected for now in reports)


MODELS: dict[str, tuple[Callable[[], nn.Module], dict[str, object]]] = {
    "tokens": (lambda: Tokens(Attention()), {}),
    "one row": (lambda: Tokens(Attention()), {"batch": 1}),
    "features": (Attention, {"input": "features", "width": models.WIDTH}),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_forward_passes_of_a_causal_model_are_predicted_within_a_fifth(name: str) -> None:
    make, options = MODELS[name]
    reports: list[Progress] = []
    result = audit(make(), seq_len=LENGTH, watch=reports.append, **options)
    first = next(now for now in reports if now.stage != PREPARING)
    made = first.forwards + sum(probe.forwards for probe in result.probes)
    assert made == pytest.approx(first.expected, rel=0.2)


def test_a_slow_model_is_announced_once_and_a_budget_needs_no_announcement(capsys: pytest.CaptureFixture[str]) -> None:
    slow = Progress("perturbation", 3, 400, 100.0, 31.0)
    for limited in (True, False):
        with waiting(limited=limited) as watch:
            watch(slow)
            watch(slow)
    error = capsys.readouterr().err
    assert error == f"{estimate(slow)}\n"
    assert "one forward pass takes 31 s; the audit makes about 400" in error
    assert "3.4 h or more; see --budget" in error


def test_a_quick_model_is_not_announced_and_there_is_no_bar_without_a_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with waiting(limited=False) as watch:
        watch(Progress("gradient", 3, 400, 0.1, 0.01))
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_on_a_terminal_a_bar_shows_the_probe_and_how_far_it_is() -> None:
    screen = io.StringIO()
    with waiting(limited=True, console=Console(file=screen, force_terminal=True, width=120)) as watch:
        watch(Progress("gradient", 30, 400, 3.0, 0.1))
    assert "gradient" in screen.getvalue()
    assert "30 of about 400 forward passes" in screen.getvalue()


@pytest.mark.parametrize(("seconds", "text"), [(0.5, "0.5 s"), (31, "31 s"), (90, "1.5 min"), (12_400, "3.4 h")])
def test_durations_are_told_in_the_unit_that_suits_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text
