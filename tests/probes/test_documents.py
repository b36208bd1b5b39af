"""Packed documents: a model that promises to isolate them must; one that does not is not tested for it."""

from __future__ import annotations

from typing import Any

import auditor_models as models
import pytest
import torch
from auditor_models import LENGTH, VOCAB, WIDTH, Attention, Tokens
from torch import Tensor, nn

from audits import LeakClass, SubjectError, Verdict, audit
from audits.__main__ import main
from audits.explanation import what
from audits.leaks import document_forgotten_layer, document_hybrid, document_positions
from audits.leaks._packed import ByBorders, ByIndex, ByPositions, PackedAttention, packed_model
from audits.results import AuditResult, ProbeResult
from audits.subject.packing import BUILDERS, DocumentKwargs, Packing, packings


def outcome(model: object, **options: Any) -> tuple[AuditResult, ProbeResult]:
    result = audit(model, **{"vocab_size": VOCAB, "seq_len": LENGTH, "probes": ["documents"], **options})
    return result, result.probes[0]


class PlainPositions(Tokens):
    """Position ids are looked up, and nothing else is made of them."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__(Attention())
        self.places = nn.Embedding(2 * LENGTH, WIDTH)

    def forward(self, tokens: Tensor, position_ids: Tensor | None = None) -> Tensor:
        if position_ids is None:
            position_ids = torch.arange(tokens.shape[1])
        x = self.embedding(tokens) + self.places(position_ids)
        return self.head(x + self.mixer(x))


class TakesAnyKeyword(Tokens):
    """Takes any keyword and uses none."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__(Attention())

    def forward(self, tokens: Tensor, **kwargs: object) -> Tensor:
        return super().forward(tokens)


class Refuses(TakesAnyKeyword):
    """Refuses packed rows, which need a kernel that is not here."""

    def forward(self, tokens: Tensor, cu_seqlens: Tensor | None = None) -> Tensor:
        if cu_seqlens is not None:
            raise NotImplementedError("packed rows need the fused kernel\nof another machine")
        return super().forward(tokens)


class NoShortDocuments(ByIndex):
    """Takes documents of at least four tokens."""

    def along(self, inputs: Tensor, documents: Tensor | None) -> Tensor:
        if documents is not None and int(documents[0].bincount().min()) < 4:
            raise ValueError("too short")
        return super().along(inputs, documents)


class NotANumberWhenPacked(ByIndex):
    """Loses its numbers in packed rows."""

    def along(self, inputs: Tensor, documents: Tensor | None) -> Tensor:
        return super().along(inputs, documents) * (1.0 if documents is None else float("nan"))


class Constant(ByIndex):
    """Outputs that depend on nothing where documents are given."""

    def along(self, inputs: Tensor, documents: Tensor | None) -> Tensor:
        return super().along(inputs, documents) * (1.0 if documents is None else 0.0)


class Masked(Tokens):
    """Takes a mask of who sees whom, [B, 1, N, N], boolean or added to the scores."""

    def __init__(self, additive: bool) -> None:
        torch.manual_seed(0)
        super().__init__(models.Mixer())
        self.additive = additive

    def forward(self, tokens: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        x = self.embedding(tokens)
        scores = x @ x.mT
        if attention_mask is None:
            attention_mask = torch.ones_like(scores, dtype=torch.bool).tril()[:, None]
            attention_mask = attention_mask.to(x.dtype).log() if self.additive else attention_mask
        mask = attention_mask[:, 0]
        scores = scores + mask if self.additive else scores.masked_fill(~mask, float("-inf"))
        return self.head(scores.softmax(-1) @ x)


def test_a_forgotten_layer_is_found_with_positions_module_and_a_line_to_reproduce():
    leak = document_forgotten_layer.LEAK
    result = audit(leak.leaky(), vocab_size=leak.vocab_size, seq_len=LENGTH, target="here:leaky")
    (finding,) = result.findings
    assert (finding.probe, finding.leak_class) == ("documents", LeakClass.DOCUMENT)
    source, sink = finding.source.position, finding.sink.position
    assert source is not None
    assert sink is not None
    assert any((source < border) != (sink < border) for p in packings(LENGTH) for border, _ in p.spans[1:])
    assert finding.module == "blocks.1.mixer"
    assert finding.reproduce.endswith("--probes documents")


def test_the_line_to_reproduce_a_finding_of_required_isolation_requires_it_again():
    result, _ = outcome(PlainPositions(), documents="position_ids")
    assert "documents='position_ids'" in result.findings[0].reproduce


def test_positions_that_do_not_restart_are_a_leak_without_a_source():
    result = audit(document_positions.leaky(), vocab_size=32, seq_len=LENGTH, probes=["documents"])
    assert "differs from that of the same document alone" in what(result.findings[0])


def test_plain_positions_promise_nothing_unless_isolation_is_required():
    _, probe = outcome(PlainPositions())
    assert not probe.applicable
    assert "--documents position_ids" in probe.why
    assert outcome(PlainPositions(), documents="position_ids")[0].verdict is Verdict.LEAK


def test_positions_by_which_everything_is_isolated_pass_without_being_asked():
    result, probe = outcome(packed_model(ByPositions, PackedAttention, PackedAttention), vocab_size=32)
    assert result.verdict is Verdict.PASS, probe.why
    assert "boundaries given by position_ids" in probe.why


def test_positions_by_which_only_some_layers_isolate_are_a_leak():
    result, probe = outcome(document_hybrid.leaky(), vocab_size=32)
    assert result.verdict is Verdict.LEAK, probe.why
    assert result.findings[0].module == "blocks.0.mixer"


class IsolatesAndCounts(ByPositions):
    """Isolates documents by their positions, and scales by the position in the row."""

    def forward(self, inputs: Tensor, position_ids: Tensor | None = None) -> Tensor:
        counted = torch.arange(inputs.shape[1])[:, None].to(self.head.weight)
        return super().forward(inputs, position_ids) * (1 + 0.01 * counted)


def test_a_document_that_differs_from_itself_alone_is_a_remark_unless_isolation_is_required():
    model = packed_model(IsolatesAndCounts, PackedAttention)
    result, probe = outcome(model, vocab_size=32)
    assert result.verdict is Verdict.PASS
    assert "from itself alone (--documents position_ids makes that a leak)" in probe.why
    assert outcome(model, vocab_size=32, documents="position_ids")[0].verdict is Verdict.LEAK


def test_any_keyword_is_no_promise():
    _, probe = outcome(TakesAnyKeyword())
    assert not probe.applicable
    assert "--documents NAME" in probe.why
    assert outcome(TakesAnyKeyword(), documents="cu_seqlens")[0].verdict is Verdict.LEAK


def test_a_model_of_one_document_a_row_is_not_tested():
    result = audit(Tokens(Attention()), vocab_size=VOCAB, seq_len=LENGTH)
    documents = next(probe for probe in result.probes if probe.name == "documents")
    assert result.verdict is Verdict.PASS
    assert not documents.applicable


def test_a_model_that_refuses_packed_rows_is_not_tested_unless_the_user_requires_it():
    result = audit(Refuses(), vocab_size=VOCAB, seq_len=LENGTH, probes=["perturbation", "documents"])
    assert result.verdict is Verdict.PASS
    assert "NotImplementedError: packed rows need the fused kernel" in result.probes[1].why
    assert "\n" not in result.probes[1].why
    assert outcome(Refuses(), documents="cu_seqlens")[0].verdict is Verdict.UNDETERMINED


def test_a_packed_row_that_is_refused_is_named_and_the_others_are_tried():
    _, probe = outcome(packed_model(NoShortDocuments, PackedAttention), vocab_size=32)
    assert probe.verdict is Verdict.PASS
    assert "refused documents of 17, 1 and 14 tokens (ValueError: too short)" in probe.why


@pytest.mark.parametrize(("kind", "reason"), [(NotANumberWhenPacked, "NaN"), (Constant, "positive control")])
def test_packed_rows_that_show_nothing_do_not_pass(kind, reason):
    _, probe = outcome(packed_model(kind, PackedAttention), vocab_size=32)
    assert probe.verdict is Verdict.UNDETERMINED
    assert probe.applicable
    assert reason in probe.why


@pytest.mark.parametrize("additive", [False, True])
def test_a_mask_of_documents_is_tried_only_when_asked_for_in_either_convention(additive):
    assert not outcome(Masked(additive))[1].applicable
    assert outcome(Masked(additive), documents="attention_mask")[0].verdict is Verdict.PASS


def test_a_future_leak_that_crosses_into_earlier_documents_keeps_its_class():
    class Backwards(ByBorders):
        def through(self, x: Tensor, documents: Tensor) -> Tensor:
            return super().through(x, documents) + self.head(0.1 * x.flip(1).cumsum(1).flip(1))

    result = audit(packed_model(Backwards, PackedAttention), vocab_size=32, seq_len=LENGTH)
    assert {finding.leak_class for finding in result.findings} == {LeakClass.DENSE}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_rounding_between_packed_and_alone_is_no_leak_in_coarse_precision(dtype):
    model = packed_model(ByBorders, PackedAttention, PackedAttention)
    result, probe = outcome(model, vocab_size=32, dtype=dtype)
    assert result.verdict is Verdict.PASS, probe.why


def test_feature_layers_must_isolate_documents_too():
    class Layer(nn.Module):
        def __init__(self, *, isolates: bool) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.attention, self.isolates = PackedAttention(), isolates

        def forward(self, x: Tensor, segment_ids: Tensor | None = None) -> tuple[Tensor, None]:
            numbers = segment_ids if self.isolates and segment_ids is not None else torch.zeros(x.shape[:2])
            return self.attention(x, numbers), None

    options = {"input": "features", "width": WIDTH, "vocab_size": None}
    assert outcome(Layer(isolates=True), **options)[0].verdict is Verdict.PASS
    assert outcome(Layer(isolates=False), **options)[0].verdict is Verdict.LEAK


@pytest.mark.parametrize("length", [2, 3, 5, 8, 24, 48, 96, 97])
def test_rows_are_filled_by_documents_of_at_least_one_token(length):
    rows = packings(length)
    assert all(sum(row.lengths) == length and min(row.lengths) >= 1 and len(row.lengths) >= 2 for row in rows)


@pytest.mark.parametrize("length", [24, 48, 96])
def test_boundaries_are_at_edges_of_chunks_and_next_to_them(length):
    boundaries = {start for row in packings(length) for start, _ in row.spans[1:]}
    assert any(boundary % 8 == 0 for boundary in boundaries)
    assert any(boundary % 2 for boundary in boundaries)


def test_a_packing_is_given_in_every_convention():
    given, packing = torch.zeros(1, 5, dtype=torch.int64), Packing((2, 3))
    made = DocumentKwargs(packing, tuple(BUILDERS))(given, torch.float32)
    assert made["cu_seqlens"].tolist() == made["cu_seq_lens_q"].tolist() == [0, 2, 5]
    assert (made["cu_seqlens"].dtype, made["seq_idx"].dtype) == (torch.int32, torch.int32)
    assert made["seq_idx"].tolist() == [[0, 0, 1, 1, 1]]
    assert made["segment_ids"].tolist() == [[1, 1, 2, 2, 2]]
    assert made["position_ids"].tolist() == [[0, 1, 0, 1, 2]]
    assert (made["max_seqlen"], made["use_cache"]) == (3, False)
    assert made["attention_mask"].shape == (1, 1, 5, 5)
    assert made["attention_mask"][0, 0, 2].tolist() == [False, False, True, False, False]
    added = DocumentKwargs(packing, ("attention_mask",), additive=True)(given, torch.float32)["attention_mask"]
    assert added[0, 0, 2].exp().tolist() == [0, 0, 1, 0, 0]


BAD = {
    "takes no argument seq_idx; of those for documents it takes position_ids": "seq_idx",
    "may name only cu_seqlens": "borders",
    "documents=''": "",
}


@pytest.mark.parametrize("message", BAD)
def test_requiring_what_the_model_does_not_take_is_one_line(message):
    with pytest.raises(SubjectError) as caught:
        audit(PlainPositions(), vocab_size=VOCAB, seq_len=LENGTH, documents=BAD[message])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_command_line_requires_isolation_and_exits_2_where_that_cannot_be(capsys):
    words = ["model", "audits.leaks.document_hybrid:clean", "--seq-len", "32", "--probes", "documents"]
    assert main([*words, "--documents", "position_ids"]) == 0
    assert main([*words, "--documents", "seq_idx"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
