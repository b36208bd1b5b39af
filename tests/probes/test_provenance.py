"""The provenance probe: verdicts and attributed lines on planted leaks, benign flows, and what it cannot follow."""

from __future__ import annotations

import linecache
import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from audits import audit
from audits.instruments.probe import Pair
from audits.instruments.source_lines import display_path
from audits.instruments.tracing.attribution import attribute
from audits.instruments.tracing.record import Recorder
from audits.instruments.tracing.trace import positions, trace, trace_function
from audits.leaks import PlantedLeak, all_leaks
from audits.probes.provenance import run
from audits.report.audit.coverage import headline
from audits.results import LeakClass, Verdict
from audits.subject.prepare import prepare
from audits.subject.settings import Settings

PLANTED = all_leaks()
CLASSES = (LeakClass.DENSE, LeakClass.SELECTION, LeakClass.STATISTIC)
# Tracing runs in float64 on the first row without padding, and one probe by itself reinitialises no weights.
SHOWN = [t for t in PLANTED if t.leak_class in CLASSES and t.leaks_in is None and not t.zero_initialized]
FLOWS = [t for t in SHOWN if t.padded is None and t.name != "later_rows"]
TRAINED = [t for t in PLANTED if t.leak_class is LeakClass.TRAINING_MODE]
OTHERS = [t for t in PLANTED if t not in FLOWS and t not in TRAINED]

# The source line that the finding must name, by a part of its text: the operation by which the later token enters. If a
# defect consists of a constant (a mask, a padding), it is the one that applies it, or makes the mask.
LEAKING_LINES = {
    "auxiliary_head": "F.avg_pool1d(y, 3, stride=1)",
    "barely_open_gate": "queries @ keys.mT",
    "block_mean_broadcast": "share.sum(-1, keepdim=True) @ x",
    "chunk_mean_routing": "membership.sum(0)[:, None] @ x",
    "conspiring_tokens": "bids.argmax(1",
    "counted_token": "self.visible(len(x), x) @ x",
    "detached_sequence_mean": "return x.mean(1, keepdim=True)",
    "distance_decay": "self.weighed(scores, x).softmax(-1)",
    "expert_choice_routing": "scores.topk(capacity, dim=1)",
    "faint_future": "SIZE * self.others",
    "finite_mask_outgrown": "return scores + penalties",
    "forbidden_token": "return x.mean(1, keepdim=True)",
    "global_key_selection": "ranks.topk(min(KEYS",
    "group_norm_over_time": "self.norm(x.mT).mT",
    "halting_together": "going.any(1, keepdim=True)",
    "hub_bidirectional_council": "F.scaled_dot_product_attention(",
    "hub_bidirectional_layer": "logits.detach().amax(-1)",
    "in_block_mixing": "self.weights() @ blocks",
    "inverted_block_mask": "return last <= torch.arange(queries",
    "inverted_boolean_mask": "masked_fill(~future(",
    "late_chunk_attention": "& ~own, -math.inf)",
    "mask_of_recorded_graph": "queries @ keys.mT",
    "mask_times_tril": "return scores + self.trim(",
    "memory_update_before_read": "updated = memory +",
    "mixture_of_depths": "scores.topk(",
    "needle": "masked_fill(hidden, -math.inf)",
    "next_token_match": "inputs.roll(-self.neighbour",
    "own_topk_mask": "scores.topk(min(KEYS",
    "hub_selection_in_chunk": "claim.reshape(-1, groups, size).sort(",
    "rare_token_ranking": "priorities.amax(1",
    "reversed_cumulative_maximum": "x.flip(1).cummax(1)",
    "reversible_instance_norm": "return x.mean(1, keepdim=True)",
    "same_padding": "self.convolution(self.pad(x.mT))",
    "sequence_projection": "terms.sum(1, keepdim=True)",
    "sequence_rank": "lower.sum(2, keepdim=True)",
    "unshifted_resampling_residual": "SPAN, -1).mean(2)",
    "batch_norm": "self.norm(x.flatten(0, 1))",
    "mask_dropped_with_dropout": "queries @ keys.mT",
}
# A chunk's prefix has no position that a tracer could know, so the line named is one that made it; the defect is on the
# way that is reported.
ON_THE_WAY = {
    "hub_own_chunk_summary": "logits.detach().amax(-1)",
    "hub_statistics_over_time": "flat.mean(1)[:, None, None]",
}


def subject_of(model, leak: PlantedLeak, length=None):
    kind = "features" if leak.width else "tokens"
    return prepare(model, Settings(kind, leak.vocab_size, leak.width, length or leak.seq_len))


@pytest.mark.parametrize("leak", FLOWS + TRAINED, ids=lambda leak: leak.name)
def test_a_leak_of_tokens_is_found_with_the_line_where_it_enters(leak):
    report = run(subject_of(leak.leaky(), leak))
    assert report.verdict is Verdict.LEAK, report.why
    (violation,) = report.violations
    assert violation.sink.position < violation.source.position
    assert violation.op
    line = linecache.getline(str(Path(violation.file)), violation.line)
    if leak.name in LEAKING_LINES:
        assert LEAKING_LINES[leak.name] in line
    else:
        places = re.findall(r"([\w/.-]+\.py):(\d+)", report.why)
        assert any(ON_THE_WAY[leak.name] in linecache.getline(file, int(number)) for file, number in places)


@pytest.mark.parametrize("leak", OTHERS, ids=lambda leak: leak.name)
def test_what_is_no_flow_of_tokens_passes(leak):
    assert run(subject_of(leak.leaky(), leak)).verdict is Verdict.PASS


@pytest.mark.parametrize("leak", PLANTED, ids=lambda leak: leak.name)
def test_a_clean_control_has_no_flow_from_later_tokens_at_all(leak):
    report = run(subject_of(leak.clean(), leak))
    assert report.verdict is Verdict.PASS
    assert "no output depends on a later token" in report.why


class Mixer(nn.Module):
    """Tokens embedded, mixed by a function of features [B, N, D], read out."""

    def __init__(self, mix):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.embedding, self.head = nn.Embedding(20, 8), nn.Linear(8, 20)
        self.mix = mix

    def forward(self, tokens):
        x = self.embedding(tokens)
        return self.head(x + self.mix(x))


def report_on(mix, length=24):
    return run(prepare(Mixer(mix), Settings(vocab_size=20, seq_len=length)))


def later(x):
    return torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)


def global_maximum(x):
    scores = x @ x.mT
    weights = (scores - scores.amax()).exp().masked_fill(later(x), 0.0)
    return weights / weights.sum(-1, keepdim=True) @ x


def total_minus_suffix(x):
    return x.sum(1, keepdim=True) - (x.flip(1).cumsum(1).flip(1) - x)


def fourier(x):
    n = x.shape[1]
    kernel = torch.randn(n, 8, dtype=x.dtype, generator=torch.Generator().manual_seed(0))
    spectrum = torch.fft.rfft(x, n=2 * n, dim=1) * torch.fft.rfft(kernel, n=2 * n, dim=0)
    return torch.fft.irfft(spectrum, n=2 * n, dim=1)[:, :n]


@pytest.mark.parametrize("mix", [global_maximum, total_minus_suffix, fourier])
def test_a_flow_that_cancels_is_reported_as_structural_and_passes(mix):
    report = report_on(mix)
    assert report.verdict is Verdict.PASS
    assert "structural only" in report.why
    assert f"{Path(__file__).name}:" in report.why
    assert not report.violations


def dead(x):
    return (x.mean(1, keepdim=True) - 100.0).relu()


def saturated(x):
    return (x @ x.mT + 1e5 * torch.eye(x.shape[1])).softmax(-1) @ x


def compared(x):
    return ((x @ x.mT).amax(-1, keepdim=True) > 1e4) * x


def dead_beside_what_cancels(x):
    return fourier(x) + dead(x)


@pytest.mark.parametrize(
    ("mix", "name"),
    [(dead, "relu"), (saturated, "_softmax"), (compared, "gt"), (dead_beside_what_cancels, "relu")],
)
def test_a_flow_that_ends_in_what_did_not_respond_leaves_the_verdict_open(mix, name):
    report = report_on(mix)
    assert report.verdict is Verdict.UNDETERMINED
    assert f"; {name} at {display_path(__file__)}:" in report.why


class Gated(Mixer):
    """A product with a gate that is zero for every token of the vocabulary, and for other weights is not."""

    def __init__(self, mix):
        super().__init__(mix)
        self.gate, self.bias = nn.Linear(8, 8), nn.Parameter(torch.full((8,), -50.0))

    def forward(self, tokens):
        x = self.embedding(tokens)
        return self.head(x + (self.gate(x) + self.bias).relu() * self.mix(x))


@pytest.mark.parametrize("mix", [lambda x: x.flip(1), lambda x: x.cumsum(1)])
def test_a_flow_through_a_gate_that_other_weights_open_leaves_the_verdict_open(mix):
    torch.manual_seed(0)
    report = run(prepare(Gated(mix), Settings(vocab_size=20, seq_len=24)))
    flows = bool((mix(torch.arange(3.0).view(1, 3, 1))[0, 0] > 0).any())
    assert report.verdict is (Verdict.UNDETERMINED if flows else Verdict.PASS)
    assert ("drawn anew" in report.why) is flows


def test_a_flow_that_shows_at_twice_the_length_is_a_leak():
    def beyond(x):
        total = x.flip(1).cumsum(1).flip(1)
        return (total - total.detach()) + (total.detach() if x.shape[1] > 24 else 0)

    report = report_on(beyond)
    assert report.verdict is Verdict.LEAK
    assert report.violations[0].source.position >= 24 or report.violations[0].pair.base.shape[1] == 48


def test_a_maximum_that_never_responded_passes_where_altering_it_changes_nothing():
    def stabilised(x):
        scores = x @ x.mT
        weights = (scores - scores.amax(-1, keepdim=True)).exp().masked_fill(later(x), 0.0)
        return weights @ x / weights.sum(-1, keepdim=True)

    report = report_on(stabilised)
    assert report.verdict is Verdict.PASS
    assert "it cancels" in report.why


def test_hard_attention_to_the_past_and_choices_after_what_cancels_pass():
    def hard(x):
        best = (x @ x.mT).masked_fill(later(x), -torch.inf).argmax(-1)
        return nn.functional.one_hot(best, x.shape[1]).to(x) @ x

    def chosen(x):
        y = fourier(x)
        return y * (y.argmax(-1, keepdim=True) + 1) + y.relu()

    assert report_on(hard).verdict is Verdict.PASS
    assert report_on(chosen).verdict is Verdict.PASS


def test_the_headline_of_a_pass_says_that_a_flow_cancels_and_where():
    result = audit(Mixer(total_minus_suffix), vocab_size=20, seq_len=24, probes=["provenance"])
    assert result.verdict is Verdict.PASS
    assert f"flip at {display_path(__file__)}:" in headline(result)
    assert "cancels" not in headline(audit(Mixer(lambda x: x), vocab_size=20, seq_len=24, probes=["provenance"]))


def penalised(penalty):
    return lambda x: (x @ x.mT + later(x) * penalty).softmax(-1) @ x


@pytest.mark.parametrize("penalty", [-1e4, -1e9])
def test_a_finite_mask_counts_as_a_mask_and_the_assumption_is_named(penalty):
    report = report_on(penalised(penalty))
    assert report.verdict is Verdict.PASS
    assert "assuming that finite masks" in report.why


def test_a_mask_of_minus_nine_is_a_leak():
    assert report_on(penalised(-9.0)).verdict is Verdict.LEAK


def test_a_row_that_a_finite_mask_hides_completely_is_a_leak():
    everything = lambda x: torch.ones(x.shape[1], x.shape[1], dtype=torch.bool)  # noqa: E731
    report = report_on(lambda x: (x @ x.mT).masked_fill(everything(x), -1e9).softmax(-1) @ x)
    assert report.verdict is Verdict.LEAK


def test_values_lost_to_python_leave_the_verdict_open():
    report = report_on(lambda x: x + torch.tensor(x.mean(-1)[0].tolist()).cumsum(0)[None, :, None])
    assert report.verdict is Verdict.UNDETERMINED
    assert "tolist" in report.why


def test_a_decision_that_reaches_earlier_outputs_and_that_no_input_turns_over_leaves_the_verdict_open():
    report = report_on(lambda x: x if float(x.abs().max()) < 1e6 else x.flip(1))
    assert report.verdict is Verdict.UNDETERMINED
    assert f"a decision at {display_path(__file__)}:" in report.why


def test_lost_values_leave_the_whole_audit_open():
    model = Mixer(lambda x: x + torch.tensor(x.mean(-1)[0].tolist(), dtype=x.dtype).cumsum(0)[None, :, None])
    result = audit(model, vocab_size=20, seq_len=12, batch=1)
    assert result.verdict is Verdict.UNDETERMINED
    assert result.findings == ()


@torch.library.custom_op("provenance_test::half", mutates_args=())
def half(x: torch.Tensor) -> torch.Tensor:
    return x / 2


def test_an_unknown_operation_is_named_and_never_called_a_leak_by_itself():
    report = report_on(half)
    assert report.verdict is Verdict.UNDETERMINED
    assert "provenance_test.half" in report.why


def test_an_unknown_operation_whose_leak_a_change_confirms_is_a_leak():
    assert report_on(lambda x: half(x).flip(1)).verdict is Verdict.LEAK


def test_an_unknown_operation_on_one_token_at_a_time_passes():
    report = report_on(lambda x: torch.stack([half(x[:, n]) for n in range(x.shape[1])], 1))
    assert report.verdict is Verdict.PASS
    assert "no rule for" in report.why


def test_a_choice_that_no_change_flipped_leaves_the_verdict_open():
    report = report_on(lambda x: x * (1 + (x.amax(1, keepdim=True) > 1e9)))
    assert report.verdict is Verdict.UNDETERMINED
    assert "discrete choice" in report.why


def test_a_model_that_ignores_its_input_is_not_passed():
    model = Mixer(lambda x: x)
    model.forward = lambda tokens: model.head.weight.mean() + torch.zeros(*tokens.shape, 20).double()
    assert run(prepare(model, Settings(vocab_size=20, seq_len=8))).verdict is Verdict.UNDETERMINED


def test_experts_that_sort_tokens_pass_with_the_assumption_named():
    def experts(x):
        flat = x[0]
        order = (flat[:, :3].argmax(-1)).argsort()
        back = torch.empty_like(order)
        back[order] = torch.arange(len(order))
        return (flat[order] * 2.0)[back][None]

    report = report_on(experts)
    assert report.verdict is Verdict.PASS
    assert "put back" in report.why


def test_a_leak_is_found_next_to_a_flow_that_cancels():
    report = report_on(lambda x: global_maximum(x) + 0.1 * x.roll(-1, 1).masked_fill(later(x)[:, :1], 0.0))
    assert report.verdict is Verdict.LEAK
    (violation,) = report.violations
    assert violation.op == "roll"


def test_the_audit_gives_the_attributed_line_to_the_findings_of_the_same_leak():
    leak = next(t for t in PLANTED if t.name == "faint_future")
    result = audit(leak.leaky(), vocab_size=leak.vocab_size, seq_len=leak.seq_len)
    (finding,) = result.findings
    assert {"provenance", "perturbation", "gradient"} <= set(finding.probes)
    assert (finding.op, finding.leak_class) == ("bmm", LeakClass.DENSE)


def test_a_leak_of_training_mode_gets_its_class_and_line_from_provenance():
    leak = next(t for t in PLANTED if t.name == "batch_norm")
    result = audit(leak.leaky(), vocab_size=leak.vocab_size, seq_len=leak.seq_len)
    (finding,) = result.findings
    assert set(finding.probes) == {"provenance", "training-mode"}
    assert (finding.op, finding.leak_class) == ("native_batch_norm", LeakClass.TRAINING_MODE)


@pytest.mark.parametrize(
    "leak", [t for t in PLANTED if t.leak_class is LeakClass.BATCH and not t.padded], ids=lambda leak: leak.name
)
def test_rows_as_sources_show_influence_between_rows(leak):
    for version, depends in ((leak.leaky, True), (leak.clean, False)):
        subject = subject_of(version(), leak)
        base = subject.base(8)
        rows = torch.arange(8)[:, None].expand(base.shape[:2])
        below = trace(subject, base, rows).latest[0].max() > 0
        above = trace(subject, base, 7 - rows).latest[7].max() > 0
        assert bool(below | above) == depends


def test_a_traced_model_is_left_as_it_was():
    leak = next(t for t in PLANTED if t.name == "running_average_buffer")
    model = leak.leaky()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    run(subject_of(model, leak))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_same_seed_gives_the_same_report():
    leak = next(t for t in PLANTED if t.name == "conspiring_tokens")
    first, second = (run(subject_of(leak.leaky(), leak)) for _ in range(2))
    assert first.why == second.why


def test_nothing_is_attributed_where_nothing_flows():
    leak = next(t for t in PLANTED if t.name == "needle")
    subject = subject_of(leak.clean(), leak)
    base = subject.base()
    assert attribute(subject, Pair(base, base, 31), 17, follow_values=False) is None


def chunks(x, size=8):
    return functional.pad(x, (0, 0, 0, -x.shape[1] % size)).unflatten(1, (-1, size))


@pytest.mark.parametrize(
    ("function", "numbers"),
    [
        (lambda x: x * x.mean(1, keepdim=True), range(1, 12)),
        (lambda x: chunks(x) + 1, [*range(1, 12), *[0] * 5]),
        (lambda x: chunks(x).softmax(2), [*range(1, 12), *[0] * 5]),
        (lambda x: chunks(x).mean(2), None),
        (lambda x: x[:, 3:].exp(), range(4, 12)),
        (
            lambda x: functional.conv1d(functional.pad(x.mT, (2, 0)), torch.ones(1, 3, 3).double()).mT.exp(),
            range(1, 12),
        ),
        (lambda x: functional.pad(x, (0, 0, 2, 0)).unfold(1, 3, 1).amax(-1), range(1, 12)),
        (lambda x: x @ x.mT, None),
        (lambda x: (x @ x.mT).softmax(-1) @ x, range(1, 12)),
    ],
)
def test_positions_follow_cuts_and_padding_and_are_those_of_where_a_mixture_is_written(function, numbers):
    subject = prepare(lambda x: (function(x), x)[1], Settings(input="features", width=3, seq_len=11))
    recorder = Recorder(None)
    trace_function(recorder, function, subject.base(), positions(subject.base()))
    found = next(event.positions[0] for event in reversed(recorder.events) if not event.layout)
    if numbers is None:
        assert found is None
    else:
        assert found.reshape(-1, found.shape[-1])[:, 0].tolist() == list(numbers)


class Landmarks(nn.Module):
    """Blocks of 8 that ask by the mean of their queries, which holds their own later tokens, or by the block before."""

    def __init__(self, own):
        super().__init__()
        torch.manual_seed(0)
        self.own, self.embed, self.head = own, nn.Embedding(20, 16), nn.Linear(16, 20)

    def forward(self, tokens):
        x = self.embed(tokens)
        blocks = chunks(x)
        keys = functional.pad(blocks.mean(2), (0, 0, 1, 0))
        asked = blocks.mean(2)
        asked = asked if self.own else functional.pad(asked, (0, 0, 1, -1))
        before = torch.ones(asked.shape[1], keys.shape[1]).tril()
        read = (asked @ keys.mT).masked_fill(before == 0, -1e4).softmax(-1) @ keys
        return self.head(read.repeat_interleave(8, 1)[:, : x.shape[1]] + x)


@pytest.mark.parametrize("length", [45, 48])
def test_padded_blocks_are_blamed_where_the_later_token_enters_and_not_where_they_are_spread(length):
    assert audit(Landmarks(own=False), vocab_size=20, seq_len=length).verdict is Verdict.PASS
    (finding,) = audit(Landmarks(own=True), vocab_size=20, seq_len=length).findings
    assert linecache.getline(finding.file, finding.line).strip() == "asked = blocks.mean(2)"
    lines = [linecache.getline(step.file, step.line).strip() for step in finding.trace if step.file]
    assert lines[:2] == ["x = self.embed(tokens)", "asked = blocks.mean(2)"]
    assert (finding.trace[0].op, finding.trace[-1].op) == ("token", "output")


class Helped(nn.Module):
    """What mixes the positions lies in a function of another package."""

    def __init__(self, function):
        super().__init__()
        torch.manual_seed(0)
        self.function, self.embed, self.head = function, nn.Embedding(20, 8), nn.Linear(8, 20)

    def forward(self, tokens):
        x = self.embed(tokens)
        return self.head(x + self.function(x))


def helper(text, file="/somewhere/helpers/shifting.py"):
    scope = {"__name__": "helpers.shifting"}
    exec(compile(f"def function(x):\n    return {text}\n", file, "exec"), scope)
    return scope["function"]


def test_of_an_operation_in_a_helper_the_models_own_line_is_named_and_the_helper_stays_in_the_trace():
    (finding,) = audit(Helped(helper("x.roll(-1, 1).sin()")), vocab_size=20, seq_len=20).findings
    assert linecache.getline(finding.file, finding.line).strip() == "return self.head(x + self.function(x))"
    assert "/somewhere/helpers/shifting.py" in {step.file for step in finding.trace}
    (finding,) = audit(Helped(helper("x / x.shape[1]")), vocab_size=20, seq_len=20).findings
    assert finding.leak_class is LeakClass.LENGTH
    assert linecache.getline(finding.file, finding.line).strip() == "return self.head(x + self.function(x))"


class OneAhead(nn.Module):
    """Attention inside blocks of 8 that sees one token ahead."""

    def __init__(self, ahead):
        super().__init__()
        torch.manual_seed(0)
        self.ahead, self.embed, self.head = ahead, nn.Embedding(20, 8), nn.Linear(8, 20)

    def mask(self, size):
        return torch.ones(size, size).tril(
            self.ahead,
        )

    def forward(self, tokens):
        x = self.embed(tokens)
        blocks = chunks(x)
        mixed = functional.scaled_dot_product_attention(blocks, blocks, blocks, self.mask(8) > 0)
        return self.head(mixed.flatten(1, 2)[:, : x.shape[1]])


def test_a_mask_that_shows_a_later_key_is_named_where_it_is_made():
    assert audit(OneAhead(0), vocab_size=20, seq_len=43).verdict is Verdict.PASS
    (finding,) = audit(OneAhead(1), vocab_size=20, seq_len=43).findings
    assert finding.op == "tril"
    assert linecache.getline(finding.file, finding.line).strip().startswith("return torch.ones(size, size).tril(")


def causal_lm(kind):
    transformers = pytest.importorskip("transformers")
    small = {"vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "pad_token_id": 0}
    more = {
        "Llama": heads,
        "Mistral": heads | {"sliding_window": 8},
        "Gemma2": heads | {"head_dim": 8, "sliding_window": 8},
        "Qwen2Moe": heads
        | {
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 8,
            "shared_expert_intermediate_size": 8,
        },
        "Mamba": {"state_size": 4},
        "GPT2": {"n_embd": 16, "n_layer": 1, "n_head": 2, "bos_token_id": 1, "eos_token_id": 2},
        "Bert": {"num_attention_heads": 2},
    }[kind]
    known = {"vocab_size": 40} if kind == "GPT2" else small
    head = {"GPT2": "GPT2LMHeadModel", "Bert": "BertForMaskedLM"}.get(kind, f"{kind}ForCausalLM")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return getattr(transformers, head)(getattr(transformers, f"{kind}Config")(**known, **more)).eval()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["Llama", "Mistral", "Gemma2", "Qwen2Moe", "Mamba", "GPT2"])
def test_a_published_causal_model_passes(kind):
    report = run(prepare(causal_lm(kind), Settings(vocab_size=40, seq_len=24)))
    assert report.verdict is Verdict.PASS, report.why


@pytest.mark.filterwarnings("ignore")
def test_a_published_bidirectional_model_leaks_in_its_attention():
    report = run(prepare(causal_lm("Bert"), Settings(vocab_size=40, seq_len=24)))
    assert report.verdict is Verdict.LEAK
    assert "attention" in report.violations[0].file or "bert" in report.violations[0].file


class Loop(nn.Module):
    """A recurrence written as a loop over tokens."""

    def __init__(self):
        super().__init__()
        self.embedding, self.cell, self.head = nn.Embedding(20, 16), nn.GRUCell(16, 16), nn.Linear(16, 20)

    def forward(self, tokens):
        x, state, states = self.embedding(tokens), None, []
        for n in range(tokens.shape[1]):
            state = self.cell(x[:, n], state)
            states.append(state)
        return self.head(torch.stack(states, 1))


class Recurrent(nn.Module):
    def __init__(self, kind, **options):
        super().__init__()
        self.embedding, self.mixer = nn.Embedding(20, 8, max_norm=1.0), kind(8, 8, batch_first=True, **options)

    def forward(self, tokens):
        return self.mixer(self.embedding(tokens))[0]


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize("both", [False, True])
def test_torchs_recurrent_layers_are_traced_without_unknown_operations(kind, both):
    subject = prepare(Recurrent(kind, bidirectional=both), Settings(vocab_size=20, seq_len=12))
    base = subject.base()
    found = trace(subject, base, positions(base))
    assert not found.unknown
    assert bool(found.leaking().any()) is both


def test_outputs_that_are_not_numbers_are_no_pass():
    class NotANumber(Recurrent):
        def forward(self, tokens):
            return super().forward(tokens) * float("nan")

    result = audit(NotANumber(nn.GRU), vocab_size=20, seq_len=12, probes=["provenance", "gradient"])
    assert {p.verdict for p in result.probes} == {Verdict.UNDETERMINED}


def test_a_model_that_loops_over_tokens_is_traced_exactly():
    subject = prepare(Loop(), Settings(vocab_size=20, seq_len=24))
    base = subject.base()
    assert torch.equal(trace(subject, base, positions(base)).latest[0].long(), torch.arange(24))


def test_every_flow_leak_has_its_line_in_the_list():
    assert {t.name for t in FLOWS + TRAINED} == {*LEAKING_LINES, *ON_THE_WAY}
