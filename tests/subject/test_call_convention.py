"""Well-known required arguments are supplied; any other stops the audit with one line."""

from __future__ import annotations

from typing import Any

import auditor_models as models
import pytest
import torch
from auditor_models import LENGTH, VOCAB, WIDTH, Attention, Tokens
from torch import Tensor, nn

from audits import SubjectError, Verdict, audit
from audits.betting import BetConfig, bet
from audits.results import LeakClass
from audits.subject.settings import Settings


def tokens(causal: bool = True) -> Tokens:
    torch.manual_seed(0)
    return Tokens(Attention(causal))


class WellKnown(nn.Module):
    """Requires what Hugging Face models take, at the right shapes for the whole, for prefixes and for pieces."""

    def __init__(self, causal: bool = True) -> None:
        super().__init__()
        self.model, self.places = tokens(causal), nn.Embedding(2 * LENGTH, VOCAB)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        position_ids: Tensor,
        *,
        token_type_ids: Tensor,
        cache_position: Tensor,
        past_key_values: Any = None,
        use_cache: bool = False,
    ) -> dict[str, Any]:
        whole = input_ids if past_key_values is None else torch.cat([past_key_values, input_ids], 1)
        assert attention_mask.shape == whole.shape
        assert bool(attention_mask.all())
        assert token_type_ids.shape == position_ids.shape == input_ids.shape
        assert torch.equal(position_ids[0], cache_position)
        new = input_ids.shape[1]
        outputs = self.model(whole)[:, -new:] + self.places(position_ids)
        return {"logits": outputs, "past_key_values": whole if use_cache else None}


class ByName(nn.Module):
    """Takes keywords only."""

    def __init__(self) -> None:
        super().__init__()
        self.model = tokens()

    def forward(self, *, attention_mask: Tensor, input_ids: Tensor) -> Tensor:
        return self.model(input_ids) * attention_mask[..., None]


class MaskFirst(ByName):
    def forward(self, attention_mask: Tensor, input_ids: Tensor) -> Tensor:
        return super().forward(attention_mask=attention_mask, input_ids=input_ids)


class TokensOrFeatures(nn.Module):
    """A language model that takes its embedded inputs under another name."""

    def __init__(self) -> None:
        super().__init__()
        self.mixer = Attention()

    def forward(self, input_ids: Tensor | None = None, inputs_embeds: Tensor | None = None) -> Tensor:
        assert input_ids is None
        assert inputs_embeds is not None
        return self.mixer(inputs_embeds)


class Borders(nn.Module):
    """Requires the boundaries of its documents; one row is one document."""

    def __init__(self) -> None:
        super().__init__()
        self.model = tokens()

    def forward(self, tokens: Tensor, cu_seqlens: Tensor, max_seqlen: int) -> Tensor:
        parts = [self.model(part) for part in tokens.split(cu_seqlens.diff().tolist(), dim=1)]
        assert max_seqlen == max(part.shape[1] for part in parts)
        return torch.cat(parts, dim=1)


class NeedsPositionEmbeddings(nn.Module):
    """As the decoder layers of Hugging Face do."""

    def __init__(self) -> None:
        super().__init__()
        self.mixer = Attention()

    def forward(
        self, hidden_states: Tensor, position_embeddings: tuple[Tensor, Tensor], attention_mask: Tensor | None = None
    ) -> Tensor:
        return self.mixer(hidden_states)


@pytest.mark.parametrize("causal", [True, False])
def test_well_known_required_arguments_are_supplied(causal):
    result = audit(WellKnown(causal), vocab_size=VOCAB, seq_len=LENGTH)
    assert result.verdict is (Verdict.PASS if causal else Verdict.LEAK), [(p.name, p.why) for p in result.probes]
    assert {p.name for p in result.probes if not p.applicable} <= {"documents"}


@pytest.mark.parametrize("model", [ByName, MaskFirst])
def test_inputs_that_do_not_come_first_are_fed_by_name(model):
    assert audit(model(), vocab_size=VOCAB, seq_len=LENGTH).verdict is Verdict.PASS


def test_an_input_called_x_stays_the_input_whatever_else_there_is():
    class Indexed(Tokens):
        def forward(self, x: Tensor, idx: Tensor | None = None, tokens: Tensor | None = None) -> Tensor:
            assert idx is None
            assert tokens is None
            return super().forward(x)

    torch.manual_seed(0)
    assert audit(Indexed(Attention()), vocab_size=VOCAB, seq_len=8, probes=["perturbation"]).verdict is Verdict.PASS


def test_features_go_to_where_a_language_model_takes_them():
    assert audit(TokensOrFeatures(), input="features", width=WIDTH, seq_len=LENGTH).verdict is Verdict.PASS


def test_a_model_that_requires_boundaries_is_fed_one_row_at_a_time_and_packed_rows_as_well():
    result = audit(Borders(), vocab_size=VOCAB, seq_len=LENGTH)
    assert result.verdict is Verdict.PASS, [(p.name, p.why) for p in result.probes]
    assert result.settings["batch"] == 1
    assert next(p for p in result.probes if p.name == "documents").applicable


def test_an_unknown_required_argument_is_named_in_one_line_that_says_how_to_wrap_it():
    with pytest.raises(SubjectError) as caught:
        audit(NeedsPositionEmbeddings(), input="features", width=WIDTH, seq_len=LENGTH)
    assert "requires the argument 'position_embeddings'" in str(caught.value)
    assert "self.model(x, position_embeddings=...)" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bets_are_placed_on_models_that_require_arguments():
    result = bet(ByName(), Settings(vocab_size=VOCAB, seq_len=8, batch=2), BetConfig(steps=2, alphabets=(2,)))
    assert result.steps == 2


class WritesIntoTokens(nn.Module):
    def __init__(self, causal: bool) -> None:
        super().__init__()
        self.model = tokens(causal)

    def forward(self, given: Tensor) -> Tensor:
        output = self.model(given)
        given.zero_()
        return output


class ReturnsItsInput(nn.Module):
    """Writes its outputs over its inputs and hands them back."""

    def __init__(self, causal: bool) -> None:
        super().__init__()
        self.mixer = Attention(causal)

    def forward(self, x: Tensor) -> Tensor:
        x.mul_(2)
        return x.copy_(self.mixer(x))


class ReturnsItsBuffer(nn.Module):
    """Writes every output into the same memory."""

    def __init__(self, causal: bool) -> None:
        super().__init__()
        self.model = tokens(causal)
        self.register_buffer("output", torch.zeros(64, 2 * LENGTH, VOCAB))

    def forward(self, given: Tensor) -> Tensor:
        rows, length = given.shape
        return self.output[:rows, :length].copy_(self.model(given).detach())


class TooShort(nn.Module):
    """Takes eight tokens at least."""

    def __init__(self, causal: bool) -> None:
        super().__init__()
        self.model = tokens(causal)

    def forward(self, given: Tensor) -> Tensor:
        if given.shape[1] < 8:
            raise ValueError("kernel larger than input")
        return self.model(given)

    def stream(self, piece: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        whole = piece if state is None else torch.cat([state, piece], 1)
        return self(whole)[:, -piece.shape[1] :], whole


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("model", [WritesIntoTokens, ReturnsItsInput, ReturnsItsBuffer])
def test_memory_that_a_model_overwrites_neither_hides_a_leak_nor_causes_one(model, causal):
    fed = {"input": "features", "width": WIDTH} if model is ReturnsItsInput else {"vocab_size": VOCAB}
    result = audit(model(causal), seq_len=LENGTH, **fed)
    overwrites = {LeakClass.STATE} if model is not ReturnsItsBuffer else set()  # of the caller's own input
    found = {finding.leak_class for finding in result.findings}
    assert found == overwrites | (set() if causal else {LeakClass.DENSE}), [(p.name, p.why) for p in result.probes]


def test_lengths_that_a_model_refuses_are_named_and_the_others_tested():
    probes = {p.name: p for p in audit(TooShort(causal=True), vocab_size=VOCAB, seq_len=LENGTH).probes}
    assert probes["prefix-length"].verdict is Verdict.PASS
    assert "24 prefixes agree" in probes["prefix-length"].why
    assert "the shortest that runs is 8, 7 lengths were refused (ValueError)" in probes["prefix-length"].why
    assert probes["decode"].verdict is Verdict.UNDETERMINED
    assert "decoding after a prefill of half equals one pass" in probes["decode"].why
    assert "token by token, in uneven pieces raised ValueError" in probes["decode"].why


def test_a_leak_in_the_lengths_that_run_is_found():
    result = audit(TooShort(causal=False), vocab_size=VOCAB, seq_len=LENGTH, probes=["prefix-length"])
    assert result.verdict is Verdict.LEAK


def test_a_model_of_one_length_has_no_prefixes_to_pass():
    result = audit(Tokens(models.OneLength()), vocab_size=VOCAB, seq_len=LENGTH, probes=["prefix-length"])
    assert result.verdict is Verdict.UNDETERMINED
