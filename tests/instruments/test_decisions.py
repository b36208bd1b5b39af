"""Decisions of Python by values that depend on tokens: which matter, and which inputs take them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from auditor_models import VOCAB, WIDTH
from torch import Tensor, nn

from audits import audit
from audits.instruments.changes import special_ids, triggers
from audits.results import ProbeResult, Verdict
from audits.subject.prepare import prepare
from audits.subject.randomness import generator
from audits.subject.settings import Settings

LENGTH = 32
THRESHOLD = 1e6


class Decides(nn.Module):
    """Running sums of embeddings, to which a decision adds something."""

    count, phrase = 5, (7, 11, 2)

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.embedding, self.head = nn.Embedding(VOCAB, WIDTH), nn.Linear(WIDTH, VOCAB)
            self.gate = nn.Linear(WIDTH, 4)
            self.experts = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(4))

    def forward(self, tokens: Tensor) -> Tensor:
        rows = [self.mix(ids, x) for ids, x in zip(tokens, self.embedding(tokens), strict=True)]
        return self.head(torch.stack(rows))

    def mix(self, ids: Tensor, x: Tensor) -> Tensor:
        return x.cumsum(0) + (x.mean(0) if self.decide(ids, x) else 0)

    def decide(self, ids: Tensor, x: Tensor) -> bool:
        raise NotImplementedError


# -- a decision adds the mean of the whole sequence ----------------------------------------------------------------


class ByCount(Decides):
    def decide(self, ids: Tensor, x: Tensor) -> bool:
        return (ids == 17).sum().item() == self.count


class ByManyOf(Decides):
    def decide(self, ids: Tensor, x: Tensor) -> bool:
        return int((ids == 17).sum()) > self.count


class ByPhrase(Decides):
    def decide(self, ids: Tensor, x: Tensor) -> bool:
        first, second, third = self.phrase
        return bool(((ids[:-2] == first) & (ids[1:-1] == second) & (ids[2:] == third)).any())


class ByPhraseWithoutPython(Decides):
    def mix(self, ids: Tensor, x: Tensor) -> Tensor:
        first, second, third = self.phrase
        found = ((ids[:-2] == first) & (ids[1:-1] == second) & (ids[2:] == third)).any()
        return x.cumsum(0) + torch.where(found, x.mean(0), 0.0)


@pytest.mark.parametrize("kind", [ByCount, ByManyOf, ByPhrase, ByPhraseWithoutPython])
def test_a_rare_decision_is_taken_by_the_numbers_that_the_model_compares_with(kind: type[Decides]) -> None:
    result = audit(kind().eval(), vocab_size=VOCAB, seq_len=LENGTH, probes=["provenance"])
    assert result.verdict is Verdict.LEAK, result.probes
    assert result.findings[0].op == "mean"


class ByMagnitude(Decides):
    def decide(self, ids: Tensor, x: Tensor) -> bool:
        return float(x.abs().max()) > THRESHOLD


class ByHash(Decides):
    def decide(self, ids: Tensor, x: Tensor) -> bool:
        return hash(tuple(ids.tolist())) % 100_000 == 7


@pytest.mark.parametrize("kind", [ByMagnitude, ByHash])
def test_a_decision_that_nothing_takes_is_no_pass_of_the_whole_audit(kind: type[Decides]) -> None:
    result = audit(kind().eval(), vocab_size=VOCAB, seq_len=LENGTH)
    assert result.verdict is Verdict.UNDETERMINED, result.probes
    assert "test_decisions.py:" in next(p.why for p in result.probes if p.name == "provenance")


# -- a decision that adds nothing from later -----------------------------------------------------------------------


class WarnsOfPadding(Decides):
    def mix(self, ids: Tensor, x: Tensor) -> Tensor:
        if (ids == 3).any():
            self.warned = True
        return x.cumsum(0)


class Asserts(Decides):
    def mix(self, ids: Tensor, x: Tensor) -> Tensor:
        assert ids.max() < VOCAB
        if x.isnan().any():
            raise ValueError("not a number")
        return x.cumsum(0)


class Logs(Decides):
    def mix(self, ids: Tensor, x: Tensor) -> Tensor:
        self.largest = x.abs().max().item()
        return x.cumsum(0)


class ChoosesBetweenEquals(Decides):
    def mix(self, ids: Tensor, x: Tensor) -> Tensor:
        if (ids == 9).sum().item() == 4:
            return torch.ones(len(x), len(x), dtype=x.dtype).tril() @ x
        return x.cumsum(0)


class SkipsExperts(Decides):
    """A loop over experts, which skips those that no token chose."""

    def mix(self, ids: Tensor, x: Tensor) -> Tensor:
        chosen, mixed = self.gate(x).argmax(-1), torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            if (chosen == number).any():
                mixed[chosen == number] = expert(x[chosen == number])
        return x.cumsum(0) + mixed


class CountsExperts(Decides):
    """The same by their counts, as numbers."""

    def mix(self, ids: Tensor, x: Tensor) -> Tensor:
        chosen, mixed = self.gate(x).argmax(-1), torch.zeros_like(x)
        counts = torch.bincount(chosen, minlength=len(self.experts))
        for number, expert in enumerate(self.experts):
            if counts[number].item() > 0:
                mixed[chosen == number] = expert(x[chosen == number])
        return x.cumsum(0) + mixed


class StartsAnew(Decides):
    """A recurrence that a token resets."""

    def mix(self, ids: Tensor, x: Tensor) -> Tensor:
        states = [x[0]]
        for n in range(1, len(x)):
            states.append(x[n] if ids[n].item() == 7 else states[-1] * 0.9 + x[n])
        return torch.stack(states)


class Halts(Decides):
    """Iterates until every position has halted; each by itself."""

    def mix(self, ids: Tensor, x: Tensor) -> Tensor:
        state, halted = x, torch.zeros(len(x), dtype=torch.bool)
        while not bool(halted.all()):
            halted = halted | (torch.sigmoid(state.sum(-1)) > 0.4)
            state = torch.where(halted[:, None], state, state * 0.7 + 0.1)
        return x.cumsum(0) + state


HARMLESS = [WarnsOfPadding, Asserts, Logs, ChoosesBetweenEquals, SkipsExperts, CountsExperts, StartsAnew, Halts]


@pytest.mark.parametrize("kind", HARMLESS)
def test_a_decision_without_effect_on_earlier_outputs_passes_and_is_named(kind: type[Decides]) -> None:
    result = audit(kind().eval(), vocab_size=VOCAB, seq_len=LENGTH, probes=["provenance"])
    probe: ProbeResult = result.probes[0]
    assert probe.verdict is Verdict.PASS, probe.why
    assert "they change no earlier output" in probe.why
    assert probe.forwards < 80


# -- the inputs that are tried -------------------------------------------------------------------------------------


def test_a_trigger_agrees_with_its_base_before_the_cut_and_has_its_token_as_often_as_a_number_says() -> None:
    subject = prepare(Asserts().eval(), Settings(vocab_size=VOCAB, seq_len=LENGTH))
    rows = triggers(subject, (17, 5, 900, 0.5), generator(0, "test"))
    assert rows is not None
    assert rows.bases is not None
    for inputs, base, cut in zip(rows.inputs, rows.bases, rows.cuts.tolist(), strict=True):
        assert torch.equal(inputs[:cut], base[:cut])
    counts = {(int((row == 17).sum()), int((row == 5).sum())) for row in rows.inputs}
    assert 5 in {seventeen for seventeen, _ in counts}
    assert triggers(subject, (900, 0.5), generator(0, "test")) is None


def test_special_ids_are_those_of_the_configuration_that_are_in_the_vocabulary() -> None:
    class Config:
        def __init__(self) -> None:
            self.pad_token_id, self.eos_token_id, self.image_token_index = 3, [1, VOCAB], None
            self.vocab_size = VOCAB

    model: Any = Asserts().eval()
    model.config = Config()
    assert special_ids(prepare(model, Settings(seq_len=8))) == (3, 1)
