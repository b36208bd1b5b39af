"""HubRouter: encode, decode, score and council composed into one layer at the attention-layer interface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hubrouter.config import ConfigError, RouterConfig
from hubrouter.council import Council, Members
from hubrouter.decode import Decode
from hubrouter.encode import Encode, Summary, combine
from hubrouter.rotary import rotate
from hubrouter.score import Score
from hubrouter.select import NOBODY, Chosen, Select
from hubrouter.shapes import Bool, Float

Grouped = TypeVar("Grouped", Summary, Members)


@dataclass(frozen=True)
class RouterState:
    """All a strictly causal layer remembers of the tokens before; its size does not grow with their number.

    Attributes:
        position: number of tokens seen.
        summary: the hubs' summary of all closed chunks.
        claim: claims of the selected tokens, largest first; -inf marks an empty slot.
        selected_k: their rotated keys.
        selected_v: their gated values.
        recent: rounded scores of the last `neighbours` tokens before the open chunk.
        open_k: keys of the open chunk's S < C tokens, not rotated.
        open_v: their values, not gated.
        open_score: their scores.
        open_valid: which of them are real.
    """

    position: int
    summary: Summary
    claim: Float[Tensor, "B K"]
    selected_k: Float[Tensor, "B H K E"]
    selected_v: Float[Tensor, "B H K E"]
    recent: Float[Tensor, "B R"]
    open_k: Float[Tensor, "B H S E"]
    open_v: Float[Tensor, "B H S E"]
    open_score: Float[Tensor, "B S"]
    open_valid: Bool[Tensor, "B S"]


class HubRouter(nn.Module):
    """The routing layer of arXiv:2604.22442, strictly causal (default) or bidirectional as published.

    `forward(x, valid)` maps [B, N, D] to [B, N, D]. The strictly causal layer also streams. Why its output at t depends
    on tokens up to t only, through values, selection, statistics and length alike, is derived in `hubrouter/README.md`.
    """

    def __init__(self, config: RouterConfig) -> None:
        super().__init__()
        self.config = config
        self.project = nn.Linear(config.d_model, 3 * config.d_model, bias=False)
        self.encode = Encode(config)
        self.decode = Decode()
        self.score = Score(config)
        self.select = Select(config)
        self.council = Council()
        self.output = nn.Linear(config.d_model, config.d_model, bias=False)

    def forward(self, x: Float[Tensor, "B N D"], valid: Bool[Tensor, "B N"] | None = None) -> Float[Tensor, "B N D"]:
        """Route N >= 1 tokens.

        Args:
            x: tokens.
            valid: True where a token is real (the opposite of torch's key_padding_mask). Padding is never read, and its
                outputs are zero. Chunk borders are counted from the first column, padding included.
        """
        if valid is not None:
            # A weight of 0 does not silence NaN or infinity, so whatever stands at padding goes no further than this.
            x = x.masked_fill(~valid[..., None], 0)
        if self.config.causal:
            return self._advance(x, valid, self.start(x))[0]
        return self._whole(x, valid)

    def stream(
        self, x: Float[Tensor, "B N D"], state: RouterState | None = None
    ) -> tuple[Float[Tensor, "B N D"], RouterState]:
        """Route the next N >= 1 tokens of a stream, in pieces of any sizes; equals `forward` on the whole.

        Raises:
            ConfigError: the layer is bidirectional, so no prefix has a final output.
        """
        if not self.config.causal:
            raise ConfigError("a bidirectional HubRouter cannot stream: build it with causal=True")
        state = self.start(x) if state is None else state
        outputs = []
        while x.shape[1]:
            size = state.open_k.shape[2]
            fits = self.config.chunk - size if size else x.shape[1]
            output, state = self._advance(x[:, :fits], None, state)
            outputs.append(output)
            x = x[:, fits:]
        return torch.cat(outputs, dim=1), state

    def start(self, x: Float[Tensor, "B N D"]) -> RouterState:
        """The state before any token, for the batch size, dtype and device of x."""
        batch, config = x.shape[0], self.config
        exact = torch.promote_types(x.dtype, torch.float32)
        heads = (batch, config.n_heads)
        return RouterState(
            position=0,
            summary=self.encode.start(batch),
            claim=x.new_full((batch, config.k), NOBODY, dtype=exact),
            selected_k=x.new_zeros(*heads, config.k, config.head_width),
            selected_v=x.new_zeros(*heads, config.k, config.head_width),
            recent=x.new_full((batch, config.neighbours), NOBODY, dtype=exact),
            open_k=x.new_zeros(*heads, 0, config.head_width),
            open_v=x.new_zeros(*heads, 0, config.head_width),
            open_score=x.new_zeros(batch, 0),
            open_valid=torch.zeros(batch, 0, dtype=torch.bool, device=x.device),
        )

    def _advance(self, x: Tensor, valid: Tensor | None, state: RouterState) -> tuple[Tensor, RouterState]:
        """The strictly causal layer on a piece that starts a chunk, or that ends within the open one."""
        length, size = x.shape[1], state.open_k.shape[2]
        opened = state.position - size
        valid = _all_real(x) if valid is None else valid
        q, k, v = self._heads(x)
        k, v = torch.cat([state.open_k, k], dim=2), torch.cat([state.open_v, v], dim=2)
        valid = torch.cat([state.open_valid, valid], dim=1)
        closed = k.shape[2] // self.config.chunk

        prefix = self.encode(*self._closed(closed, k, v), self._closed_flat(closed, valid), state.summary)
        groups = max(closed + (k.shape[2] > closed * self.config.chunk), 1)
        chunk = min(self.config.chunk, k.shape[2])
        fingerprint, readout = self.decode(_chunks(q, groups, min(chunk, length)), _first(prefix, groups))
        score = torch.cat([state.open_score, self.score(fingerprint).flatten(1)[:, :length]], dim=1)

        claim = self.select.claims(score, valid, state.recent)
        slots = torch.arange(self.config.k, device=x.device).expand(x.shape[0], 1, -1)
        before = Chosen(state.claim[:, None], slots)
        chosen = self.select(self._closed_flat(closed, claim), before, first=self.config.k)

        rotated = rotate(k, opened, self.config.rope_base)
        gated = v * self.score.gate(score)[:, None, :, None]
        all_k, all_v = torch.cat([state.selected_k, rotated], dim=2), torch.cat([state.selected_v, gated], dim=2)
        members = _gather(all_k, all_v, chosen)
        own = Members(
            _chunks(rotated, groups, chunk), _chunks(gated, groups, chunk), _chunks_flat(valid, groups, chunk)
        )
        q = _chunks(rotate(q, state.position, self.config.rope_base), groups, min(chunk, length))
        mixed = readout + self.council(q, _first(members, groups), own)
        output = self._merge_heads(mixed, length) * valid[:, size:, None]
        return output, self._remember(state, prefix, members, chosen, k, v, score, valid, closed)

    def _remember(
        self,
        state: RouterState,
        prefix: Summary,
        members: Members,
        chosen: Chosen,
        k: Tensor,
        v: Tensor,
        score: Tensor,
        valid: Tensor,
        closed: int,
    ) -> RouterState:
        """The state after a piece: last prefixes and open chunk, copied so that no view keeps the piece alive."""
        end = closed * self.config.chunk
        recent = torch.cat([state.recent, self.select.rounded(score[:, :end], valid[:, :end])], dim=1)
        return RouterState(
            position=state.position - state.open_k.shape[2] + k.shape[2],
            summary=Summary._make(part[:, -1:].clone() for part in prefix),
            claim=chosen.claim[:, -1].clone(),
            selected_k=members.k[:, -1].clone(),
            selected_v=members.v[:, -1].clone(),
            recent=recent[:, recent.shape[1] - self.config.neighbours :].clone(),
            open_k=k[:, :, end:].clone(),
            open_v=v[:, :, end:].clone(),
            open_score=score[:, end:].clone(),
            open_valid=valid[:, end:].clone(),
        )

    def _whole(self, x: Tensor, valid: Tensor | None) -> Tensor:
        """The bidirectional layer as published: hubs, ranking and council all see the whole sequence."""
        length = x.shape[1]
        valid = _all_real(x) if valid is None else valid
        start = self.start(x)
        q, k, v = self._heads(x)
        everyone = self.encode.summarise(k[:, None], v[:, None], valid[:, None])
        fingerprint, readout = self.decode(q[:, None], combine(start.summary, everyone))
        score = self.score(fingerprint)[:, 0]
        claim = self.select.claims(score, valid, start.recent)
        slots = torch.arange(self.config.k, device=x.device).expand(x.shape[0], 1, -1)
        chosen = self.select(claim[:, None], Chosen(start.claim[:, None], slots), first=self.config.k)
        base = self.config.rope_base
        gated = v * self.score.gate(score)[:, None, :, None]
        all_k = torch.cat([start.selected_k, rotate(k, 0, base)], dim=2)
        members = _gather(all_k, torch.cat([start.selected_v, gated], dim=2), Chosen._make(t[:, 1:] for t in chosen))
        mixed = readout + self.council(rotate(q, 0, base)[:, None], members)
        return self._merge_heads(mixed, length) * valid[..., None]

    def _heads(self, x: Float[Tensor, "B N D"]) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each [B, H, N, E]."""
        q, k, v = self.project(x).reshape(*x.shape[:2], 3, self.config.n_heads, -1).unbind(2)
        return q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)

    def _merge_heads(self, mixed: Float[Tensor, "B G H L E"], length: int) -> Float[Tensor, "B N D"]:
        merged = mixed.transpose(2, 3).flatten(3).flatten(1, 2)[:, :length]
        output: Tensor = self.output(merged)
        return output

    def _closed(self, closed: int, *tensors: Tensor) -> list[Tensor]:
        """[B, H, N, E] cut into the closed chunks [B, G, H, C, E]."""
        return [_chunks(t[:, :, : closed * self.config.chunk], closed, self.config.chunk) for t in tensors]

    def _closed_flat(self, closed: int, tensor: Tensor) -> Tensor:
        """[B, N] cut into the closed chunks [B, G, C]."""
        return _chunks_flat(tensor[:, : closed * self.config.chunk], closed, self.config.chunk)


def _all_real(x: Tensor) -> Tensor:
    return torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)


def _chunks(tensor: Float[Tensor, "B H N E"], groups: int, size: int) -> Float[Tensor, "B G H C E"]:
    """Cut the token axis into `groups` chunks of `size`, filling the last up with zeros."""
    batch, heads, length, width = tensor.shape
    padded = F.pad(tensor, (0, 0, 0, groups * size - length))
    return padded.reshape(batch, heads, groups, size, width).transpose(1, 2)


def _chunks_flat(tensor: Tensor, groups: int, size: int) -> Tensor:
    """The same for [B, N]; False or zero fills up."""
    return F.pad(tensor, (0, groups * size - tensor.shape[1])).reshape(len(tensor), groups, size)


def _first(items: Grouped, groups: int) -> Grouped:
    return type(items)(*(part[:, :groups] for part in items))


def _gather(k: Float[Tensor, "B H N E"], v: Float[Tensor, "B H N E"], chosen: Chosen) -> Members:
    """Keys and values of the chosen tokens, once for each prefix: [B, G, H, K, E]."""
    batch, groups, slots = chosen.token.shape
    heads, width = k.shape[1], k.shape[3]
    index = chosen.token.reshape(batch, 1, groups * slots, 1).expand(-1, heads, -1, width)
    found = [t.gather(2, index).reshape(batch, heads, groups, slots, width).transpose(1, 2) for t in (k, v)]
    return Members(found[0], found[1], chosen.claim != NOBODY)
