"""The decode probe: what streams as one pass computes, what does not, and what cannot be streamed at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from auditor_models import VOCAB, WIDTH
from torch import Tensor, nn

from audits import Contract, Stream, audit
from audits.results import ProbeResult, Verdict

LENGTH = 24


class Sums(nn.Module):
    """Running sums, streamed by their last one."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.embedding, self.head = nn.Embedding(VOCAB, WIDTH), nn.Linear(WIDTH, VOCAB)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.run(tokens, None)[0]

    def run(self, tokens: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        sums = self.embedding(tokens).cumsum(1) + (0 if state is None else state)
        return self.head(sums), sums[:, -1:]


class Streams(Sums):
    def stream(self, piece: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.run(piece, state)


class Forgets(Streams):
    def stream(self, piece: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.run(piece, None)


class Raises(Streams):
    def stream(self, piece: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        raise AttributeError("no attribute")


class WrongShape(Streams):
    def stream(self, piece: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        outputs, state = self.run(piece, state)
        return outputs[:, :0], state


class Stub(Streams):
    def stream(self, piece: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        raise NotImplementedError


class TokenByToken(Streams):
    """Takes one token at a time once it has a state."""

    def stream(self, piece: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if state is not None and piece.shape[1] > 1:
            raise ValueError("one token at a time")
        return super().stream(piece, state)


class TokenByTokenForgets(TokenByToken):
    def stream(self, piece: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.run(piece, super().stream(piece, state)[1] * 0)


def decoded(model: nn.Module, **options: Any) -> ProbeResult:
    (probe,) = audit(model.eval(), vocab_size=VOCAB, seq_len=LENGTH, probes=["decode"], **options).probes
    return probe


VERDICTS = {
    Streams: Verdict.PASS,
    Forgets: Verdict.LEAK,
    Raises: Verdict.UNDETERMINED,
    WrongShape: Verdict.UNDETERMINED,
    TokenByToken: Verdict.UNDETERMINED,
    TokenByTokenForgets: Verdict.LEAK,
}


@pytest.mark.parametrize("kind", VERDICTS)
def test_a_stream_passes_only_if_every_way_of_cutting_it_equals_one_pass(kind: Callable[[], nn.Module]) -> None:
    probe = decoded(kind())
    assert (probe.verdict, probe.applicable) == (VERDICTS[kind], True), probe.why


def test_a_stream_that_is_a_stub_is_none() -> None:
    assert not decoded(Stub()).applicable


def test_a_stream_that_raises_leaves_the_whole_audit_undetermined() -> None:
    result = audit(Raises().eval(), vocab_size=VOCAB, seq_len=LENGTH)
    assert result.verdict is Verdict.UNDETERMINED
    assert [p.name for p in result.probes if p.applicable and p.verdict is not Verdict.PASS] == ["decode"]


# -- caches under other names --------------------------------------------------------------------------------------


class Caches(Sums):
    """Returns outputs and its cache where asked to."""

    lost_after = 10**6

    def forward(self, tokens: Tensor, cache: Any = None, return_cache: bool = False) -> Any:
        state, seen = cache or (None, 0)
        outputs, state = self.run(tokens, state)
        seen += tokens.shape[1]
        return (outputs, (state * (seen < self.lost_after), seen)) if return_cache else outputs


class CachesAndForgets(Caches):
    """Loses the first tokens once there are many."""

    lost_after = 9


class CachesWithTheWholeInput(Caches):
    """Expects what is in the cache in its input too."""

    def forward(self, tokens: Tensor, cache: Any = None, return_cache: bool = False) -> Any:
        seen = 0 if cache is None else cache[1]
        return super().forward(tokens[:, seen:] if seen < tokens.shape[1] else tokens * 0, cache, return_cache)


@pytest.mark.parametrize(
    ("kind", "verdict", "applicable"),
    [
        (Caches, Verdict.PASS, True),
        (CachesAndForgets, Verdict.LEAK, True),
        (CachesWithTheWholeInput, Verdict.UNDETERMINED, False),
    ],
)
def test_a_cache_of_another_name_is_judged_where_it_is_understood(
    kind: Callable[[], nn.Module], verdict: Verdict, applicable: bool
) -> None:
    probe = decoded(kind())
    assert (probe.verdict, probe.applicable) == (verdict, applicable), probe.why


class Remembering(nn.Module):
    """A running sum that takes what came before in `memory`, zero at first, and returns it as `kept`."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(VOCAB, WIDTH), nn.Linear(WIDTH, VOCAB)

    def forward(self, x: Tensor, memory: Tensor | float = 0.0) -> dict[str, Any]:
        sums = memory + self.embedding(x).cumsum(1)
        return {"logits": self.head(sums.tanh()), "kept": {"sum": sums[:, -1:]}}


@pytest.mark.parametrize("output", [None, "logits"])
def test_a_cache_named_by_its_user_is_continued_from_its_own_default(output: str | None) -> None:
    found = decoded(Remembering(), contract=Contract(cache="memory=kept.sum", output=output))
    assert (found.verdict, found.applicable) == (Verdict.PASS, True)
    assert "token by token, after a prefill of half, in uneven pieces" in found.why


def test_a_cache_named_by_its_user_that_is_not_returned_is_undetermined():
    found = decoded(Remembering(), contract=Contract(cache="memory=left"))
    assert (found.verdict, found.applicable) == (Verdict.UNDETERMINED, True)
    assert "the output has no 'left': a dict has no 'left'; it has logits, kept" in found.why


# -- clocks of its own ---------------------------------------------------------------------------------------------


class Clocked(nn.Module):
    """Running sums of the features [B, N, 2] up to (and with `ahead`, beyond) each slot, by a cache or a stream.

    With `forgets` the planted defect: a piece after the first begins with half of what was before.
    """

    ahead, present, prefix, hop = 0, True, 0, 1

    def __init__(self, forgets: bool) -> None:
        super().__init__()
        self.forgets = forgets

    def forward(self, x: Tensor, before: Tensor | None = None) -> dict[str, Tensor]:
        x = x.tanh()
        start = x.new_zeros(len(x), 1, 2) if before is None else before * (0.5 if self.forgets else 1)
        sums = start + x.cumsum(1)
        if self.prefix and before is None:  # all of it is seen by each of it
            sums = torch.cat([sums[:, self.prefix - 1, None].expand(-1, self.prefix, -1), sums[:, self.prefix :]], 1)
        outputs = (sums if self.present else sums - x)[:, self.hop - 1 :: self.hop]
        if self.ahead:
            outputs = outputs + nn.functional.pad(x, (0, 0, 0, self.ahead))[:, self.ahead :]
        return {"logits": outputs, "after": sums[:, -1:]}


class Strict(Clocked):
    present = False


class Prefix(Clocked):
    prefix = 5


class Frames(Clocked):
    hop = 4


class Samples(Frames):
    """A sample for each sample, made of its frame."""

    def forward(self, x: Tensor, before: Tensor | None = None) -> dict[str, Tensor]:
        found = super().forward(x, before)
        return found | {"logits": found["logits"].repeat_interleave(4, 1)}


class Upsampled(Clocked):
    """Two outputs for each slot."""

    def forward(self, x: Tensor, before: Tensor | None = None) -> dict[str, Tensor]:
        found = super().forward(x, before)
        return found | {"logits": found["logits"].repeat_interleave(2, 1)}


class Ahead(Clocked):
    ahead = 2


def late(model: Any, piece: Tensor, state: Any) -> tuple[Tensor, Any]:
    """Returns an output when the slots that it looks ahead to are there."""
    before, held = (None, piece[:, :0]) if state is None else state
    x = torch.cat([held, piece], 1)
    ready = max(0, x.shape[1] - Ahead.ahead)
    found = model(x, before)
    sums = found["logits"][:, :ready]
    after = before if ready == 0 else model(x[:, :ready], before)["after"]
    return sums, (after, x[:, ready:])


CLOCKED: dict[str, tuple[type[Clocked], Contract]] = {
    "strict": (Strict, Contract(strict=True, cache="before=after")),
    "prefix": (Prefix, Contract(prefix=5, cache="before=after")),
    "hop": (Frames, Contract(hop=4, cache="before=after")),
    "hop by its own clock": (Frames, Contract(due=lambda frame: 4 * frame + 3, cache="before=after")),
    "hop, sample by sample": (Samples, Contract(hop=4, cache="before=after")),
    "two outputs a slot": (Upsampled, Contract(due=lambda output: output // 2, cache="before=after")),
    "before": (Strict, Contract(inputs={"x": "before:features:2"}, cache="before=after")),
    "late outputs": (Ahead, Contract(lookahead=2, stream=Stream(late))),
}


@pytest.mark.parametrize("name", CLOCKED)
@pytest.mark.parametrize("forgets", [False, True])
def test_under_clocks_of_its_own_a_model_is_decoded_too(name: str, forgets: bool) -> None:
    kind, contract = CLOCKED[name]
    result = audit(kind(forgets), input="features", width=2, seq_len=LENGTH, contract=contract)
    by_name = {probe.name: probe for probe in result.probes}
    assert by_name["decode"].verdict is (Verdict.LEAK if forgets else Verdict.PASS), by_name["decode"].why
    assert [finding.leak_class for finding in result.findings] == ["decode"] * forgets
    if forgets:
        sink = result.findings[0].sink.position
        assert f"differs at slot {sink} (due at " in by_name["decode"].why
        assert sink is not None
        assert sink < 2 * LENGTH
        assert result.findings[0].line is not None
    else:
        assert result.verdict is Verdict.PASS, result
        assert "also with 3 guesses taken back" in by_name["decode"].why


def test_an_output_that_is_returned_before_it_is_due_decides_nothing_where_it_differs():
    told = Contract(lookahead=2, cache="before=after")
    probe = decoded(Ahead(False), input="features", width=2, contract=told)
    assert (probe.verdict, probe.applicable) == (Verdict.UNDETERMINED, True)
    assert "is returned before all that it may depend on was fed" in probe.why
    assert decoded(Ahead(True), input="features", width=2, contract=told).verdict is Verdict.LEAK


def test_one_output_of_everything_cannot_be_decoded_in_pieces():
    class Whole(Clocked):
        hop = LENGTH

    told = Contract(due=lambda output: output + LENGTH - 2, cache="before=after")
    probe = decoded(Whole(False), input="features", width=2, contract=told)
    assert (probe.verdict, probe.applicable) == (Verdict.UNDETERMINED, True)
    assert probe.why == f"under this contract, all {LENGTH} slots are fed in one piece: nothing can be decoded"


def test_outputs_that_are_never_returned_are_refused():
    def never(model: Any, piece: Tensor, state: Any) -> tuple[Tensor, Any]:
        outputs, state = late(model, piece, state)
        return outputs[:, 1:], state

    probe = decoded(Ahead(False), input="features", width=2, contract=Contract(lookahead=2, stream=Stream(never)))
    assert probe.verdict is Verdict.UNDETERMINED
    assert f"outputs in place of {LENGTH}" in probe.why


@pytest.mark.parametrize("forgets", [False, True])
def test_a_step_of_several_arguments_is_given_them_by_name(forgets: bool) -> None:
    class Two(Clocked):
        def forward(self, states: Tensor, times: Tensor, before: Tensor | None = None) -> dict[str, Tensor]:
            return super().forward(states * times.sin()[..., None], before)

    def step(model: Any, piece: dict[str, Tensor], state: Any) -> tuple[Tensor, Any]:
        found = model(**piece, before=state)
        return found["logits"], found["after"]

    roles = {"states": "past:features:2", "times": "past:times"}
    for how in ({"stream": Stream(step)}, {"cache": "before=after"}):
        probe = decoded(Two(forgets), contract=Contract(inputs=roles, **how))
        assert probe.verdict is (Verdict.LEAK if forgets else Verdict.PASS), probe.why


def test_what_goes_with_the_slots_is_continued_where_the_piece_begins():
    class Positioned(Clocked):
        def forward(self, x: Tensor, position_ids: Tensor, before: Tensor | None = None) -> dict[str, Tensor]:
            return super().forward(x * (1 + position_ids[..., None]), before)

    roles = {"x": "past:features:2", "position_ids": "held:positions"}
    probe = decoded(Positioned(False), contract=Contract(inputs=roles, cache="before=after"))
    assert probe.verdict is Verdict.PASS, probe.why


@pytest.mark.parametrize("forgets", [False, True])
def test_an_image_is_decoded_line_by_line(forgets: bool) -> None:
    class Pixels(Strict):
        def forward(self, x: Tensor, before: Tensor | None = None) -> dict[str, Tensor]:
            found = super().forward(x.flatten(2).mT, before)
            return found | {"logits": found["logits"].mT.unflatten(2, x.shape[2:])}

    axes = {"input_axis": (2, 3), "output_axis": (2, 3)}
    told = Contract(strict=True, inputs={"x": "past:features:2"}, cache="before=after", **axes)
    probe = decoded(Pixels(forgets), contract=told)
    assert probe.verdict is (Verdict.LEAK if forgets else Verdict.PASS), probe.why


class CountsItsCalls(Sums):
    """A stream whose running sums lie in the module: a piece that is taken back stays in them."""

    def stream(self, piece: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self.kept = None if state is None else self.kept
        outputs, self.kept = self.run(piece, self.kept)
        return outputs, self.kept


class Crops:
    """A cache that removes its last tokens; a wrong one removes one too few."""

    def __init__(self, missing: int) -> None:
        self.missing, self.tokens = missing, torch.empty(1, 0, dtype=torch.int64)

    def crop(self, count: int) -> None:
        self.tokens = self.tokens[:, : count + self.missing or None]


class StreamsWithCrop(Sums):
    def __init__(self, missing: int = 0) -> None:
        super().__init__()
        self.missing = missing

    def stream(self, piece: Tensor, state: Crops | None = None) -> tuple[Tensor, Crops]:
        state = Crops(self.missing) if state is None else state
        state.tokens = torch.cat([state.tokens.expand(len(piece), -1), piece], 1)
        return self(state.tokens)[:, -piece.shape[1] :], state


@pytest.mark.parametrize("kind", [Streams, StreamsWithCrop])
def test_guesses_that_are_taken_back_leave_nothing_behind(kind: Callable[[], nn.Module]) -> None:
    probe = decoded(kind())
    assert probe.verdict is Verdict.PASS
    assert "also with 3 guesses taken back" in probe.why


@pytest.mark.parametrize("model", [CountsItsCalls(), StreamsWithCrop(1)], ids=["kept in the module", "cropped short"])
def test_a_guess_that_stays_after_it_was_taken_back_is_a_leak(model: nn.Module) -> None:
    probe = decoded(model)
    assert probe.verdict is Verdict.LEAK
    assert "after 3 guesses taken back" in probe.why


# -- padding at the left -------------------------------------------------------------------------------------------


class PaddedSums(Sums):
    """Sums of real tokens, each weighted by its position among them."""

    def __init__(self, leaks: bool) -> None:
        super().__init__()
        self.leaks = leaks

    def forward(
        self, tokens: Tensor, attention_mask: Tensor | None = None, past_key_values: Any = None, use_cache: bool = False
    ) -> Any:
        state, seen = past_key_values or (None, 0)
        length = seen + tokens.shape[1]
        real = torch.ones(len(tokens), length) if attention_mask is None else attention_mask
        positions = (real.cumsum(1) - 1).clamp(0)[:, seen:]
        if self.leaks and seen:  # counted in the cache, padding included: the planted defect
            positions = torch.arange(seen, length).expand(len(tokens), -1)
        x = self.embedding(tokens) * (real[:, seen:] * (1 + positions))[..., None].to(self.head.weight)
        sums = x.cumsum(1) + (0 if state is None else state)
        logits = self.head((sums / 50).tanh())
        return {"logits": logits, "past_key_values": (sums[:, -1:], length)} if use_cache else logits


@pytest.mark.parametrize("leaks", [False, True])
@pytest.mark.parametrize("told", [None, Contract(inputs={"tokens": "past:tokens", "attention_mask": "padding"})])
def test_a_row_padded_at_the_left_is_decoded_as_the_same_row_without_padding(
    leaks: bool, told: Contract | None
) -> None:
    result = audit(PaddedSums(leaks).eval(), vocab_size=VOCAB, seq_len=LENGTH, contract=told)
    probe = next(probe for probe in result.probes if probe.name == "decode")
    assert probe.verdict is (Verdict.LEAK if leaks else Verdict.PASS), probe.why
    assert [finding.leak_class for finding in result.findings] == ["decode"] * leaks
    if leaks:
        assert "given attention_mask with 8 padded at the left, decoding differs at position " in probe.why
        assert probe.why.endswith("from the same row without padding")
        assert result.findings[0].line is not None
    else:
        assert probe.why.endswith("also 8 padded at the left, as without padding")
