"""What an audit costs: forward passes by length, layers and vocabulary, and what is left out where a row is dear."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from audits import audit
from audits.experiments.bench._toy import Attention
from audits.instruments import adversary, changes
from audits.instruments.differences import Changes, Comparison, Effects
from audits.instruments.influence import influence_map
from audits.instruments.sampling import FEW, is_traced
from audits.results import Verdict
from audits.subject import snapshot
from audits.subject import subject as subjects
from audits.subject.prepare import prepare
from audits.subject.settings import Settings
from audits.subject.subject import Subject

VOCAB = 20


class Ranks(nn.Module):
    """Adds to each position what ranks first up to it: nothing leaks, but a choice leaves the trace in doubt."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCAB, 8)
        self.head = nn.Linear(8, VOCAB)

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.head(self.embedding(tokens).cummax(1).values)
        return logits


class LastTokenPeeks(Attention):
    """At the position before the last alone, the last token is added."""

    def forward(self, tokens: Tensor) -> Tensor:
        logits = super().forward(tokens)
        last = nn.functional.pad(logits[:, -1:], (0, 0, tokens.shape[1] - 2, 1))
        return logits + last


def model(layers: int = 1, vocabulary: int = VOCAB) -> Attention:
    torch.manual_seed(0)
    return Attention(8, 2, layers, vocabulary).eval()


def forwards(subject: nn.Module, length: int) -> int:
    result = audit(subject, seq_len=length)
    assert result.verdict is Verdict.PASS, result
    return sum(probe.forwards for probe in result.probes)


def test_forward_passes_grow_by_the_logarithm_of_the_length_where_the_trace_is_complete() -> None:
    lengths = (128, 256, 512)
    counts = [forwards(model(), length) for length in lengths]
    for shorter, longer in pairwise(counts):
        assert 0 <= longer - shorter <= 10, counts  # those around the next power of two, and evenly spread
    assert counts[0] < 220


def test_forward_passes_do_not_depend_on_layers_or_vocabulary() -> None:
    assert forwards(model(layers=3), 48) == forwards(model(), 48) == forwards(model(vocabulary=500), 48)


def test_forward_passes_grow_with_the_length_where_the_trace_holds_a_choice() -> None:
    torch.manual_seed(0)
    ranks = Ranks().eval()
    assert not is_traced(prepare(ranks, Settings(vocab_size=VOCAB, seq_len=24)))
    result = audit(ranks, seq_len=48)
    assert not any("because the trace is complete" in probe.why for probe in result.probes)
    assert forwards(ranks, 96) - forwards(ranks, 48) > 48  # every prefix alone makes as many


def test_what_was_sampled_is_said() -> None:
    whys = {probe.name: probe.why for probe in audit(model(), seq_len=128).probes}
    said = f"({FEW} of 127 cuts, because the trace is complete)"
    assert said in whys["perturbation"]
    assert said in whys["training-mode"]
    assert said in whys["dtype"]
    assert f"({FEW} of 128 outputs, because the trace is complete)" in whys["gradient"]
    assert "of 127 lengths, because the trace is complete) agree" in whys["prefix-length"]


@pytest.fixture
def dear(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every row costs so much that few are run, and what shows at any length on a short sequence."""
    monkeypatch.setattr(subjects, "CHEAP", 0.0)
    monkeypatch.setattr(subjects, "SHORT", 32)


@pytest.mark.usefixtures("dear")
def test_a_dear_model_is_screened_in_its_own_dtype_on_few_rows_and_short_sequences() -> None:
    result = audit(model(), seq_len=96)
    assert result.verdict is Verdict.PASS
    assert result.settings["dtype"] == "float32"
    whys = {probe.name: probe.why for probe in result.probes}
    assert whys["repeat-call"].endswith("(at 32 of 96 positions, because the trace is complete)")
    assert whys["perturbation"].startswith("32 changed sequences (16 of 95 cuts")


@pytest.mark.usefixtures("dear")
def test_a_leak_of_one_position_in_a_dear_model_is_found_and_located() -> None:
    torch.manual_seed(0)
    result = audit(LastTokenPeeks(8, 2, 1, VOCAB).eval(), seq_len=64)
    assert result.verdict is Verdict.LEAK
    (finding,) = result.findings
    assert (finding.source.position, finding.sink.position) == (63, 62)
    assert finding.file is not None
    assert finding.file.endswith("test_cost.py")


@pytest.mark.usefixtures("dear")
def test_preparing_a_dear_model_takes_at_most_three_passes_of_the_whole_length() -> None:
    lengths: list[int] = []

    class Counts(Attention):
        def forward(self, tokens: Tensor) -> Tensor:
            lengths.append(tokens.numel())
            return super().forward(tokens)

    torch.manual_seed(0)
    prepare(Counts(8, 2, 1, VOCAB).eval(), Settings(vocab_size=VOCAB, seq_len=1024))
    assert sum(lengths) <= 3 * 1024 + 2048  # and one of as many rows as are fed at once


def test_a_model_that_raises_on_other_tokens_than_the_first_is_reported_and_ends_no_audit() -> None:
    seen: list[Tensor] = []

    class Picky(Attention):
        def forward(self, tokens: Tensor) -> Tensor:
            seen.append(tokens[:1, :4].clone())
            if not torch.equal(seen[-1], seen[0][:, : tokens.shape[1]]):
                raise ValueError("these tokens are not mine")
            return super().forward(tokens)

    torch.manual_seed(0)
    result = audit(Picky(8, 2, 1, VOCAB).eval(), seq_len=16)
    assert result.verdict is not Verdict.LEAK
    assert any("these tokens are not mine" in probe.why for probe in result.probes), result


def test_a_bias_of_zeros_is_no_switch_that_training_opens() -> None:
    """PyTorch's attention begins with zeros in `in_proj_bias`: that does not make every probe run twice."""
    whys = [probe.why for probe in audit(model(), seq_len=16).probes]
    assert not any("all-zero" in why for why in whys)


def test_the_influence_map_has_every_position_whatever_the_trace_says() -> None:
    """An empty column of the map says that nothing depends on that position: only the first is never changed."""
    found = torch.tensor(influence_map(model(), Settings(vocab_size=VOCAB, seq_len=40)))
    assert bool((found.diagonal()[1:] > 0).all())


def test_what_one_probe_measured_no_other_measures_again() -> None:
    class Structural(Ranks):
        def forward(self, tokens: Tensor) -> Tensor:
            logits = super().forward(tokens)
            return logits + (logits.argmax(1, keepdim=True) < 0)

    torch.manual_seed(0)
    ranks = Structural().eval()

    def cost(*probes: str) -> dict[str, int]:
        result = audit(ranks, seq_len=24, probes=probes)
        return {probe.name: probe.forwards for probe in result.probes}

    alone = cost("perturbation")["perturbation"]
    together = cost("perturbation", "provenance")
    assert alone > 40
    assert together["perturbation"] + together["provenance"] < alone + cost("provenance")["provenance"] - 40


def test_a_leak_that_only_the_copy_with_other_weights_was_tried_for_is_no_hidden_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rankings are evolved on the copy alone; what they show on the model as it came too, no all-zero weights hide."""

    class Peeks(Attention):
        def __init__(self) -> None:
            super().__init__(8, 2, 1, VOCAB)
            self.gate = nn.Parameter(torch.zeros(()))

        def forward(self, tokens: Tensor) -> Tensor:
            logits = super().forward(tokens)
            return logits + self.gate * logits + nn.functional.pad(logits[:, 8:], (0, 0, 0, 8))

    def late(comparison: Comparison, gen: torch.Generator) -> tuple[Changes, Effects]:
        plan = changes.suffixes(comparison.subject, comparison.base, gen)
        return plan, comparison.measure(plan)

    def first_only(subject: Subject, base: Tensor, gen: torch.Generator) -> Changes:
        return changes.singles(subject, base, gen, torch.tensor([1]))

    monkeypatch.setattr(adversary, "_evolve", late)
    monkeypatch.setattr(changes, "plans", lambda *given, **_: (first_only(*given), first_only(*given)))
    monkeypatch.setattr(changes, "sweep", lambda subject, gen: first_only(subject, subject.base(), gen))
    torch.manual_seed(0)
    (probe,) = audit(Peeks().eval(), seq_len=16, probes=["perturbation"]).probes
    assert probe.verdict is Verdict.LEAK
    assert "all-zero weights" not in probe.why


def test_a_large_weight_is_kept_once_and_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "MAX_COMPARED", 4)

    class Doubles(Attention):
        def forward(self, tokens: Tensor) -> Tensor:
            with torch.no_grad():
                self.head.weight.mul_(2)
            return super().forward(tokens)

    torch.manual_seed(0)
    doubles = Doubles(8, 2, 1, VOCAB).eval()
    before = doubles.head.weight.detach().clone()
    subject = prepare(doubles, Settings(vocab_size=VOCAB, seq_len=16))
    first, again = (subject.run(subject.base()) for _ in range(2))
    assert torch.equal(first, again)
    assert torch.equal(doubles.head.weight, before)
    values = [saved.value for saved in subject._snapshot._tensors]
    assert any(value.data_ptr() == doubles.head.weight.data_ptr() for value in values)
