"""HubRouter: encode, decode, score and council composed into one layer at the attention-layer interface."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hubrouter.adaptive import HubGates
from hubrouter.config import ConfigError, RouterConfig
from hubrouter.council import Council, Members, Selected, Tokens
from hubrouter.decode import Decode, Decoded
from hubrouter.encode import Encode, Summary, combine
from hubrouter.implementations import implementation
from hubrouter.rotary import Rotation, rotate, rotation
from hubrouter.score import Score
from hubrouter.select import NO_CLAIM, Chosen, Select
from hubrouter.shapes import Bool, Float, Int
from hubrouter.state import RouterState, block_lengths, piece_lengths

Grouped = TypeVar("Grouped", Summary, Chosen)


class Piece(NamedTuple):
    """Queries of a piece of the sequence, and keys and values of all tokens of its chunks, heads after tokens."""

    q: Float[Tensor, "B G L H E"]
    k: Float[Tensor, "B G C H E"]
    v: Float[Tensor, "B G C H E"]
    valid: Bool[Tensor, "B G C"]


class Routed(NamedTuple):
    """What the first three stages and the selection find for a piece.

    `prefix` and `chosen` have an entry for each of its chunks and, where the last is full, one for what follows.
    """

    prefix: Summary
    decoded: Decoded
    score: Float[Tensor, "B G C"]
    ranking: Float[Tensor, "B N"]
    chosen: Chosen


class HubRouter(nn.Module):
    """The routing layer of arXiv:2604.22442, strictly causal (default) or bidirectional as published.

    `forward(x, valid)` maps [B, N, D] to [B, N, D]. The strictly causal layer also streams. This class is the reference
    implementation; `impl` names the one that is used, and may be changed at any time. Why its output at t depends
    on tokens up to t only, through values, selection, statistics and length alike, is derived in `hubrouter/README.md`.
    """

    def __init__(self, config: RouterConfig) -> None:
        super().__init__()
        self.config = config
        self.project = nn.Linear(config.d_model, 3 * config.d_model, bias=False)
        self.encode = Encode(config)
        self.gates = HubGates(config.n_hubs) if config.adaptive_hubs else None
        self.decode = Decode()
        self.score = Score(config)
        self.select = Select(config)
        self.council = Council()
        self.output = nn.Linear(config.d_model, config.d_model, bias=False)
        self.impl = config.impl

    @property
    def log_gate(self) -> Float[Tensor, " M"] | None:
        """The logarithm of each hub's gate, -inf where it is closed; None without gates."""
        return None if self.gates is None else self.gates()

    @property
    def impl(self) -> str:
        """The implementation in use, one of `hubrouter.config.IMPLS`."""
        return self.config.impl

    @impl.setter
    def impl(self, impl: str) -> None:
        """Change it; ConfigError where the layer cannot be computed that way."""
        config = replace(self.config, impl=impl)
        other = None if impl == "reference" else implementation(impl)
        if other is not None:
            other.prepare(config)
        self.config, self._other = config, other

    def forward(self, x: Float[Tensor, "B N D"], valid: Bool[Tensor, "B N"] | None = None) -> Float[Tensor, "B N D"]:
        """Route N >= 1 tokens.

        Args:
            x: tokens.
            valid: True where a token is real (the opposite of torch's key_padding_mask). Padding is never read, and its
                outputs are zero. Chunk borders are counted from the first column, padding included.
        """
        if valid is None:
            return self._computed(x, None)
        # A weight of 0 does not suppress NaN or infinity, so values at padding are replaced before anything else.
        padding = ~valid[..., None]
        return self._computed(x.masked_fill(padding, 0), valid).masked_fill(padding, 0)

    def reference(self, x: Float[Tensor, "B N D"], valid: Bool[Tensor, "B N"] | None) -> Float[Tensor, "B N D"]:
        """The reference implementation, whatever `impl` is; tokens at padding are zero already."""
        valid = _all_real(x) if valid is None else valid
        if not self.config.causal:
            return self._whole(x, valid)
        return self._walk(x, valid, self.start(x), block_lengths(x.shape[1], self.config.chunk))[0]

    def stream(
        self, x: Float[Tensor, "B N D"], state: RouterState | None = None
    ) -> tuple[Float[Tensor, "B N D"], RouterState]:
        """Route the next N >= 1 tokens of a stream, in pieces of any sizes; equals `forward` on the whole.

        Raises:
            ConfigError: the layer is bidirectional, so no prefix has a final output.
        """
        if not self.config.causal:
            raise ConfigError("a bidirectional HubRouter cannot stream: build it with causal=True")
        if self._other is not None:
            streamed: tuple[Tensor, RouterState] = self._other.stream(self, x, state)
            return streamed
        state = self.start(x) if state is None else state
        lengths = piece_lengths(x.shape[1], state.open_k.shape[1], self.config.chunk)
        output, next_state = self._walk(x, _all_real(x), state, list(lengths))
        return output, next_state()

    @torch.no_grad()
    def selected(self, x: Float[Tensor, "B N D"]) -> Int[Tensor, "B G K"]:
        """Positions of the tokens selected for each chunk of a strictly causal layer, best first; -1 is an empty slot.

        Raises:
            ConfigError: the layer is bidirectional.
        """
        if not self.config.causal:
            raise ConfigError("a bidirectional HubRouter selects once, not by chunk: build it with causal=True")
        start = self.start(x)
        piece = self._cut(x, _all_real(x), start)
        chosen = _first(self._routed(piece, start).chosen, piece.q.shape[1])
        return torch.where(chosen.claim == NO_CLAIM, -1, chosen.token - self.config.slots)

    def start(self, x: Float[Tensor, "B N D"]) -> RouterState:
        """The state before any token, for the batch size, dtype and device of x."""
        batch, config = x.shape[0], self.config
        exact = torch.promote_types(x.dtype, torch.float32)
        heads = (config.n_heads, config.head_width)
        return RouterState(
            position=0,
            summary=self.encode.start(batch),
            claim=x.new_full((batch, config.slots), NO_CLAIM, dtype=exact),
            selected_k=x.new_zeros(batch, config.slots, *heads),
            selected_v=x.new_zeros(batch, config.slots, *heads),
            recent=x.new_full((batch, config.neighbours), NO_CLAIM, dtype=exact),
            open_k=x.new_zeros(batch, 0, *heads),
            open_v=x.new_zeros(batch, 0, *heads),
            open_score=x.new_zeros(batch, 0),
            open_valid=torch.zeros(batch, 0, dtype=torch.bool, device=x.device),
        )

    def close(self, state: RouterState) -> RouterState:
        """The state once its open chunk is full: the hubs have seen its tokens, and they can be selected."""
        piece = Piece(*(part[:, None] for part in (state.open_k, state.open_k, state.open_v, state.open_valid)))
        prefix = self.encode(piece.k.transpose(2, 3), piece.v.transpose(2, 3), piece.valid, state.summary)
        ranking = self.select.ranking(state.open_score, state.opened)
        claim = self.select.claims(ranking, state.open_valid, state.recent)
        chosen = self.select(claim[:, None], self.select.kept(state.claim), first=self.config.slots)
        angles = self._angles(piece.k, state.opened, self.config.chunk)
        _, own = self._turned(piece, state.open_score[:, None], angles)  # no queries are rotated here
        return self._closed(state, ranking, prefix, chosen, own)

    def _computed(self, x: Tensor, valid: Tensor | None) -> Tensor:
        if self._other is None:
            return self.reference(x, valid)
        output: Tensor = self._other.forward(self, x, valid)
        return output

    def _walk(
        self, x: Tensor, valid: Tensor, state: RouterState, lengths: list[int]
    ) -> tuple[Tensor, Callable[[], RouterState]]:
        """The strictly causal layer piece by piece: outputs, and a function that computes the state after them."""
        first, opened = state.opened, state.open_k.shape[1]
        angles = self._angles(x, first, opened + x.shape[1] + self.config.chunk)  # the last chunk is filled up
        if len(lengths) == 1:
            return self._advance(x, valid, state, angles)
        outputs = []
        *before, last = zip(x.split(lengths, dim=1), valid.split(lengths, dim=1), strict=True)
        for piece in before:
            output, next_state = self._advance(*piece, state, angles.after(state.opened - first))
            outputs.append(output)
            state = next_state()
        output, next_state = self._advance(*last, state, angles.after(state.opened - first))
        return torch.cat([*outputs, output], dim=1), next_state

    def _advance(
        self, x: Tensor, valid: Tensor, state: RouterState, angles: Rotation
    ) -> tuple[Tensor, Callable[[], RouterState]]:
        """The strictly causal layer on tokens that all belong to the open chunk, or that start one.

        The state is valid only after whole chunks or for the open one, not after several of which one stays open.
        """
        piece = self._cut(x, valid, state)
        prefix, decoded, score, ranking, chosen = self._routed(piece, state)
        q, own = self._turned(piece, score, angles)
        selected = self._selected(state, own, _first(chosen, score.shape[1]))
        read = self.council(q, selected, own if self.config.reads_chunk else None)
        output = self._output(read, decoded, x.shape[1])
        if score.shape[2] == self.config.chunk:
            return output, partial(self._closed, state, ranking, prefix, chosen, own)
        return output, partial(state.with_open, piece.k[:, 0], piece.v[:, 0], score[:, 0], piece.valid[:, 0])

    def _routed(self, piece: Piece, state: RouterState) -> Routed:
        """Encode, decode, score and select for a piece; the open chunk changes neither summary nor selection."""
        q, k, v = (part.transpose(2, 3) for part in piece[:3])
        groups, closes = q.shape[1], k.shape[3] == self.config.chunk
        prefix = self.encode(k, v, piece.valid, state.summary) if closes else state.summary
        decoded = self.decode(q, _first(prefix, groups), self.log_gate)
        score = _after(state.open_score, self.score(decoded.fingerprint))
        ranking = self.select.ranking(score.flatten(1), state.opened)
        claim = self.select.claims(ranking, piece.valid.flatten(1), state.recent).view(score.shape)
        chosen = self.select.kept(state.claim)
        chosen = self.select(claim, chosen, first=self.config.slots) if closes else chosen
        return Routed(prefix, decoded, score, ranking, chosen)

    def _closed(
        self, state: RouterState, ranking: Tensor, prefix: Summary, chosen: Chosen, own: Members
    ) -> RouterState:
        """The state after a piece of whole chunks, copied, because a view would keep the whole piece in memory."""
        recent = torch.cat([state.recent, self.select.rounded(ranking, own.valid.flatten(1))], dim=1)
        kept = Tokens(state.selected_k, state.selected_v).then(own)
        selected_k, selected_v = (part[:, 0].transpose(1, 2) for part in kept.pick(chosen.token[:, -1:]))
        return RouterState(
            position=state.opened + own.valid[0].numel(),
            summary=Summary._make(part[:, -1:].clone() for part in prefix),
            claim=chosen.claim[:, -1].clone(),
            selected_k=selected_k,
            selected_v=selected_v,
            recent=recent[:, recent.shape[1] - self.config.neighbours :].clone(),
            open_k=state.open_k[:, :0].clone(),
            open_v=state.open_v[:, :0].clone(),
            open_score=state.open_score[:, :0].clone(),
            open_valid=state.open_valid[:, :0].clone(),
        )

    def _whole(self, x: Tensor, valid: Tensor) -> Tensor:
        """The bidirectional layer as published: hubs, ranking and council all depend on the whole sequence."""
        start = self.start(x)
        piece = self._cut(x, valid, start, whole=True)
        q, k, v = (part.transpose(2, 3) for part in piece[:3])
        summary = combine(start.summary, self.encode.summarise(k, v, piece.valid))
        decoded = self.decode(q, summary, self.log_gate)
        score = self.score(decoded.fingerprint)
        claim = self.select.claims(self.select.ranking(score[:, 0], 0), valid, start.recent)
        chosen = self.select(claim[:, None], self.select.kept(start.claim), first=self.config.slots)
        q, own = self._turned(piece, score, self._angles(x, 0, x.shape[1]))
        all_tokens = Tokens(start.selected_k, start.selected_v).then(own)
        selected = Selected(all_tokens, chosen.token[:, 1:], chosen.claim[:, 1:] != NO_CLAIM)
        return self._output(self.council(q, selected), decoded, x.shape[1])

    def _selected(self, state: RouterState, own: Members, chosen: Chosen) -> Selected:
        """What each chunk's council reads of what was selected before it.

        For the first chunk, and so for a single one, all kept tokens are selected, in the order of storage.
        """
        kept, number = Tokens(state.selected_k, state.selected_v), chosen.token if chosen.token.shape[1] > 1 else None
        if number is not None and not self.config.reads_chunk:
            kept = kept.then(own)
        return Selected(kept, number, chosen.claim != NO_CLAIM)

    def _cut(
        self, x: Float[Tensor, "B N D"], valid: Bool[Tensor, "B N"], state: RouterState, *, whole: bool = False
    ) -> Piece:
        """Tokens projected and cut into chunks, or the whole as one; those of the open chunk come before them.

        The last of several chunks is padded.
        """
        groups = 1 if whole else math.ceil((state.open_k.shape[1] + x.shape[1]) / self.config.chunk)
        projected, missing = self.project(x), groups * self.config.chunk - x.shape[1] if groups > 1 else 0
        if missing:
            projected, valid = F.pad(projected, (0, 0, 0, missing)), F.pad(valid, (0, missing))
        q, k, v = projected.view(x.shape[0], groups, -1, 3, self.config.n_heads, self.config.head_width).unbind(3)
        valid = _after(state.open_valid, valid.unflatten(1, (groups, -1)))
        return Piece(q, _after(state.open_k, k), _after(state.open_v, v), valid)

    def _angles(self, like: Tensor, first: int, count: int) -> Rotation:
        """The rotation at so many positions from the first on."""
        position = torch.arange(first, first + count, device=like.device)
        return rotation(position, self.config.head_width, self.config.rope_base, self.project.weight.dtype)

    def _turned(self, piece: Piece, score: Float[Tensor, "B G C"], angles: Rotation) -> tuple[Tensor, Members]:
        """Rotated queries [B, G, H, L, E], rotated keys and gated values of a piece, whose angles come first."""
        angles = angles.chunks(score.shape[1], score.shape[2], piece.k.dtype)
        q, k = rotate(piece.q, angles.last(piece.q.shape[2])), rotate(piece.k, angles)
        v = piece.v * self.score.gate(score)[..., None, None]
        return q.transpose(2, 3), Members(k.transpose(2, 3), v.transpose(2, 3), piece.valid)

    def _output(self, read: Tensor, decoded: Decoded, length: int) -> Float[Tensor, "B N D"]:
        """What each token [B, G, H, L, E] read in the council and out of the hubs, projected."""
        mixed = read + decoded.readout() if self.config.readout else read
        output: Tensor = self.output(mixed.transpose(2, 3).flatten(3).flatten(1, 2)[:, :length])
        return output


def _all_real(x: Tensor) -> Tensor:
    return torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)


def _after(opened: Tensor, new: Tensor) -> Tensor:
    """[B, S, ...] of the open chunk before [B, G, L, ...] of a piece; where there are several chunks, none is open."""
    return torch.cat([opened[:, None], new], dim=2) if new.shape[1] == 1 else new


def _first(items: Grouped, groups: int) -> Grouped:
    return type(items)(*(part[:, :groups] for part in items))
