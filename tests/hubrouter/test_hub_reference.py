"""The whole layer against an independent one, written token by token from the paper's four stages and our choices.

Nothing is shared with the package but the weights: no chunks, no scan, no running top-k; O(N^2).
"""

from __future__ import annotations

import math

import pytest
import torch
from hub_layers import ABLATIONS, RAGGED, Size, build, draw
from torch import Tensor


def rotate(x: Tensor, position: int, base: float) -> Tensor:
    """One head [E] at a position: pair (i, i + E/2) as a complex number, times a unit phase."""
    half = len(x) // 2
    pairs = torch.complex(x[:half], x[half:])
    angles = torch.tensor([position * base ** (-i / half) for i in range(half)], dtype=x.dtype)
    turned = pairs * torch.polar(torch.ones_like(angles), angles)
    return torch.cat([turned.real, turned.imag])


def drawn(position: int, seed: int) -> int:
    """The random number of a position, in Python's integers."""
    mixed = (position + seed) % 2**32
    for shift, multiplier in ((16, 0x7FEB352D), (15, 0x446CA68B), (16, 0x5BD1E995)):
        mixed = (mixed ^ mixed >> shift) * multiplier % 2**32
    return (mixed ^ mixed >> 15) % 2**24


class Naive:
    """One row of a layer, token by token."""

    def __init__(self, layer, x: Tensor, valid: list[bool]) -> None:
        self.layer, self.config, self.valid, self.n = layer, layer.config, valid, len(x)
        heads, self.e = self.config.n_heads, self.config.head_width
        q, k, v = (x @ layer.project.weight.T).chunk(3, dim=-1)
        self.q, self.k, self.v = ([row.reshape(heads, self.e) for row in part] for part in (q, k, v))
        causal, chunk = self.config.causal, self.config.chunk
        self.seen = [t // chunk * chunk if causal else self.n for t in range(self.n)]  # what routing may see at t
        self.routed = [self.route(t) for t in range(self.n)]
        self.scores = [score for score, _ in self.routed]
        self.claims = [self.claim(t) for t in range(self.n)]

    def hub(self, head: int, m: int, end: int) -> Tensor:
        """A hub's softmax average over its own embedding (logit 0) and the real tokens before `end`."""
        own = self.layer.encode.hubs[head, m]
        real = [j for j in range(end) if self.valid[j]]
        logits = torch.stack([own.new_zeros(()), *(own @ self.k[j][head] / math.sqrt(self.e) for j in real)])
        return logits.softmax(0) @ torch.stack([own, *(self.v[j][head] for j in real)])

    def route(self, t: int) -> tuple[Tensor, list[Tensor]]:
        """Score and read-out of a token."""
        prints, readouts = [], []
        for head in range(self.config.n_heads):
            hubs = torch.stack([self.hub(head, m, self.seen[t]) for m in range(self.config.n_hubs)])
            fingerprint, readout = self.decode(hubs, self.q[t][head])
            prints.append(fingerprint * self.config.n_hubs - 1)
            readouts.append(readout if self.config.readout else torch.zeros_like(readout))
        head = self.layer.score.head
        return (head.weight[0] @ torch.cat(prints) + head.bias[0]), readouts

    def decode(self, hubs: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
        """The distribution of one head over its hubs, of which the closed ones are left out, and what it reads."""
        gates = torch.ones(len(hubs), dtype=hubs.dtype)
        if self.config.adaptive_hubs:
            level = self.layer.gates.level
            gates = (1 + level - level.max()).clamp_min(0)
        found = torch.zeros_like(gates)
        kept = hubs[gates > 0]
        centred = kept - kept.mean(0) if len(kept) > 1 else kept
        directions = centred / (centred.square().mean() + 1e-8).sqrt()
        weight = gates[gates > 0] * (directions @ query / math.sqrt(self.e)).exp()
        weight = weight / weight.sum()
        return found.masked_scatter(gates > 0, weight), weight @ directions

    def rank(self, t: int) -> float:
        """What a token is ranked by, in units of the grid."""
        if self.config.selection == "recent":
            return t
        if self.config.selection == "random":
            return drawn(t, int(self.layer.select.seed))
        return round(1024 * self.scores[t].item())

    def claim(self, t: int) -> float:
        """The best rank of a real token among t and the `neighbours` before it."""
        window = range(max(0, t - self.config.neighbours), t + 1)
        return max([self.rank(j) for j in window if self.valid[j]], default=-math.inf)

    def read(self, t: int) -> list[int]:
        """Positions whose values the council reads at t."""
        real = [j for j in range(self.seen[t]) if self.valid[j]]
        best = sorted(real, key=lambda j: (-self.claims[j], j))[: self.config.k]
        own = [j for j in range(self.seen[t], t + 1) if self.valid[j]] if self.config.causal else []
        return {"selected+chunk": best + own, "selected": best, "chunk": own}[self.config.council]

    def output(self, t: int) -> Tensor:
        """The layer's output [D] at t."""
        if not self.valid[t]:
            return self.q[t].new_zeros(self.config.d_model)
        mixed = []
        for head in range(self.config.n_heads):
            query = rotate(self.q[t][head], t, self.config.rope_base)
            keys = [rotate(self.k[j][head], j, self.config.rope_base) for j in self.read(t)]
            if not keys:
                mixed.append(self.routed[t][1][head])
                continue
            weight = torch.stack([query @ key / math.sqrt(self.e) for key in keys]).softmax(0)
            values = torch.stack([torch.sigmoid(self.scores[j]) * self.v[j][head] for j in self.read(t)])
            mixed.append(self.routed[t][1][head] + weight @ values)
        return self.layer.output.weight @ torch.cat(mixed)


def naive(layer, x: Tensor, valid: Tensor | None = None) -> Tensor:
    """All rows, [B, N, D]."""
    valid = torch.ones(x.shape[:2], dtype=torch.bool) if valid is None else valid
    rows = [Naive(layer, row, real.tolist()) for row, real in zip(x, valid, strict=True)]
    return torch.stack([torch.stack([row.output(t) for t in range(row.n)]) for row in rows])


BIDIRECTIONAL = [
    Size(length, causal=False, neighbours=neighbours, k=k, n_hubs=hubs)
    for length, neighbours, k, hubs in [(1, 1, 3, 3), (9, 0, 3, 3), (9, 2, 3, 2), (9, 1, 20, 1), (14, 1, 1, 4)]
]


@torch.no_grad()
@pytest.mark.parametrize("size", RAGGED + BIDIRECTIONAL + ABLATIONS, ids=str)
def test_the_layer_equals_the_naive_one(size):
    layer, x = build(size), draw(size)
    torch.testing.assert_close(layer(x), naive(layer, x), rtol=0, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize(
    "size", [Size(21, chunk=4, k=5), Size(3), *(size for size in ABLATIONS if size.causal)], ids=str
)
def test_what_is_selected_equals_the_naive_selection(size):
    layer, x = build(size), draw(size)
    found = layer.selected(x)
    for row, tokens in enumerate(x):
        slow = Naive(layer, tokens, [True] * len(tokens))
        for group in range(found.shape[1]):
            start = group * size.chunk
            wanted = [] if size.council == "chunk" else [t for t in slow.read(start) if t < start]
            assert [t for t in found[row, group].tolist() if t >= 0] == wanted


@torch.no_grad()
@pytest.mark.parametrize("causal", [True, False])
def test_the_layer_equals_the_naive_one_around_padding(causal):
    size = Size(14, batch=3, neighbours=2, causal=causal)
    layer, x = build(size), draw(size)
    valid = torch.rand(3, 14, generator=torch.Generator().manual_seed(1)) < 0.6
    valid[0, :5], valid[1, 9:] = False, False
    torch.testing.assert_close(layer(x, valid), naive(layer, x, valid), rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [Size(11, chunk=3), Size(11, causal=False), *ABLATIONS], ids=str)
def test_every_gradient_equals_the_naive_one(size):
    layer = build(size)
    weights = draw(size, seed=9)
    gradients = []
    for run in (layer, lambda x: naive(layer, x)):
        x = draw(size).requires_grad_()
        layer.zero_grad()
        (run(x) * weights).sum().backward()
        found = {"x": x.grad} | {name: p.grad for name, p in layer.named_parameters() if p.grad is not None}
        gradients.append({name: gradient.clone() for name, gradient in found.items()})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], rtol=0, atol=1e-11, msg=name)


@torch.no_grad()
def test_the_two_layers_share_parameters_but_not_outputs():
    causal, bidirectional = build(Size(9)), build(Size(9, causal=False))
    assert all(torch.equal(a, b) for a, b in zip(causal.parameters(), bidirectional.parameters(), strict=True))
    assert (causal(draw(Size(9))) - bidirectional(draw(Size(9)))).abs().max() > 1e-2
