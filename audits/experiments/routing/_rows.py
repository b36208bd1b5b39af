"""The rows of the companion paper's table, each a representation and a router, or a recipe of its own."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One mechanism.

    Attributes:
        name: as runs and reports call it.
        representation: a module of `hubrouter.diagnostic.representations`.
        router: a module of `hubrouter.diagnostic.routers`, or of `hubrouter.diagnostic.bandits` for such a recipe.
        causal: the causal kind of the representation.
        layers: of the representation.
        hubs: hub tokens or global tokens.
        recipe: how it learns: "supervised" end to end; "infonce-frozen" and "infonce-tuned", contrastive pretraining
            of the projections; "bandit".
        budget: the share of positions a bandit picks; 0 for as many as the task says.
        backbone: the frozen language model below: "bytes", trained here; "hf:NAME", loaded, at tier paper alone.
        positions: whether learned positions are added to the embedding.
    """

    name: str
    representation: str
    router: str = "investigator"
    causal: bool = False
    layers: int = 1
    hubs: int = 16
    recipe: str = "supervised"
    budget: float = 0.0
    backbone: str = ""
    positions: bool = True


_PAPER = (
    Row("raw", "raw"),
    Row("raw, no positions", "raw", positions=False),
    Row("flow-causal", "flow", causal=True, layers=2),
    Row("flow", "flow"),
    Row("flow, rank-1", "flow", "rank_one"),
    Row("global mean", "global_mean"),
    Row("fourier", "fourier"),
    Row("attention-causal", "attention", causal=True),
    Row("attention", "attention"),
    Row("attention, 2 layers", "attention", layers=2),
    Row("attention, 4 layers", "attention", layers=4),
    Row("attention, rank-1", "attention", "rank_one"),
    Row("attention, position alone", "attention", "rank_one_position"),
    Row("sparse", "sparse"),
    Row("perceiver, M = 16", "perceiver"),
    Row("perceiver, M = 1", "perceiver", hubs=1),
    Row("segments-causal", "attention", "segment_mean", causal=True),
    Row("segments", "attention", "segment_mean"),
    Row("segments, maximum", "attention", "segment_max"),
    Row("linear-attention scores", "attention", "linear_attention"),
    Row("InfoNCE, frozen", "raw", recipe="infonce-frozen"),
    Row("InfoNCE, tuned", "raw", recipe="infonce-tuned"),
    Row("InfoNCE, frozen, no positions", "raw", recipe="infonce-frozen", positions=False),
    Row("InfoNCE, tuned, no positions", "raw", recipe="infonce-tuned", positions=False),
    Row("LinUCB", "raw", "linucb", recipe="bandit"),
    Row("Thompson", "raw", "thompson", recipe="bandit"),
    Row("OFUL", "raw", "oful", recipe="bandit"),
    Row("budget 50 %", "raw", "oful", recipe="bandit", budget=0.5),
    Row("budget 25 %", "raw", "oful", recipe="bandit", budget=0.25),
    Row("memory banks", "raw", "memory_banks"),
    Row("closed loop", "raw", "closed_loop"),
    Row("closed loop, no positions", "raw", "closed_loop", positions=False),
    Row("bloom filter", "raw", "bloom"),
    Row("frozen language model", "raw", backbone="bytes"),
    Row("frozen language model, attention", "attention", backbone="bytes"),
    Row("frozen Pythia-1B", "raw", backbone="hf:EleutherAI/pythia-1b"),
    Row("frozen Pythia-1B, attention", "attention", backbone="hf:EleutherAI/pythia-1b"),
    Row("frozen Mamba-370M", "raw", backbone="hf:state-spaces/mamba-370m-hf"),
    Row("frozen Mamba-1.4B", "raw", backbone="hf:state-spaces/mamba-1.4b-hf"),
)
_FAMILIES = (
    Row("sliding window", "sliding_window"),
    Row("linear attention", "linear_attention"),
    Row("linear attention-causal", "linear_attention", causal=True),
    Row("decay", "rwkv", causal=True),
    Row("linformer", "linformer"),
    Row("performer", "performer"),
    Row("hub layer-causal", "hub", causal=True),
    Row("hub layer", "hub"),
    Row("hub scores-causal", "raw", "hub", causal=True),
    Row("hub scores", "raw", "hub"),
)
ROWS = {row.name: row for row in (*_PAPER, *_FAMILIES)}
TOO_SLOW = ("flow, rank-1",)  # in a pilot it still rose after 100 000 questions, ten minutes of a core


def rows(tier: str) -> tuple[str, ...]:
    """The names of those that run at a tier: what has to be loaded, or learns too slowly, is for a GPU."""
    if tier == "paper":
        return tuple(ROWS)
    return tuple(row.name for row in ROWS.values() if not row.backbone.startswith("hf:") and row.name not in TOO_SLOW)
