"""The rows of the companion paper's table, each a representation and a router, or a recipe of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace


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
            of the projections; "bandit"; "backbone", a frozen language model below.
        budget: the share of positions a bandit picks; 0 for as many as the task says.
    """

    name: str
    representation: str
    router: str = "investigator"
    causal: bool = False
    layers: int = 1
    hubs: int = 16
    recipe: str = "supervised"
    budget: float = 0.0


_PAPER = (
    Row("raw", "raw"),
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
    Row("segments of flow-causal", "flow", "segment_mean", causal=True),
    Row("segments of flow", "flow", "segment_mean"),
    Row("segments of attention, maximum", "attention", "segment_max"),
    Row("linear-attention scores", "attention", "linear_attention"),
    Row("random projection", "attention", "random_projection"),
    Row("cosine", "attention", "cosine"),
    Row("InfoNCE, frozen", "raw", recipe="infonce-frozen"),
    Row("InfoNCE, tuned", "raw", recipe="infonce-tuned"),
    Row("LinUCB", "raw", "linucb", recipe="bandit"),
    Row("Thompson", "raw", "thompson", recipe="bandit"),
    Row("OFUL", "raw", "oful", recipe="bandit"),
    Row("budget 50 %", "raw", "oful", recipe="bandit", budget=0.5),
    Row("budget 25 %", "raw", "oful", recipe="bandit", budget=0.25),
    Row("memory banks", "raw", "memory_banks"),
    Row("closed loop", "raw", "closed_loop"),
    Row("bloom filter", "raw", "bloom"),
    Row("frozen language model", "raw", recipe="backbone"),
    Row("frozen language model, attention", "attention", recipe="backbone"),
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


def representations() -> dict[str, Row]:
    """One row for each different representation, by the name of the first that has it."""
    seen: dict[Row, str] = {}
    for row in ROWS.values():
        seen.setdefault(replace(row, name="", router="", recipe="", budget=0.0), row.name)
    return {name: ROWS[name] for name in seen.values()}
