"""The paper's systems and what explains them: ablations of every hub arm, equal parameters, adaptive M."""

from __future__ import annotations

from dataclasses import replace

from audits.experiments.language_models._arm import BIDIRECTIONAL, SIZES, Arm, Cell, Size, cells
from audits.experiments.language_models._language_model import study
from hubrouter.patterns import graduated, hub_gpt, hub_jamba, jamba, transformer

# Jamba's period of 8 leaves one attention layer in 12 and none in fewer than 5, so ours is shorter (our choice).
PERIODS = {2: (2, 1), 4: (4, 2), 12: (4, 2)}  # layers: (attn_layer_period, attn_layer_offset)
SHARES = (0.25, 0.5, 0.75)
PRICE, MOST_HUBS = 0.1, 16  # nats an open hub; hubs to choose from
FEWER = 3  # seeds of the arms that explain, where the arms explained have the tier's
# MLPs that bring Hub-GPT and the Transformer to Jamba's parameters, within .1 % (tier full; elsewhere not made).
AS_LARGE_AS_JAMBA = {"full": {"H": 347, "A": 351}}


def own_chunk(arm: Arm) -> Arm:
    """The ablation without any routing: block-local attention, the hubs not read."""
    return replace(arm, council="chunk", readout=False)


def ablations(arm: Arm) -> dict[str, Arm]:
    """A hub arm without routing, with random selection, and without the hubs' read-out."""
    return {
        "own chunk alone": own_chunk(arm),
        "random selection": replace(arm, selection="random"),
        "no read-out": replace(arm, readout=False),
    }


def systems(size: Size) -> dict[str, Arm]:
    """The paper's systems at a scale, by name."""
    period = PERIODS[size.layers]
    hybrid = size.arm(hub_jamba(size.layers, *period))
    return {
        "Transformer": size.arm(transformer(size.layers)),
        "Jamba": size.arm(jamba(size.layers, *period)),
        "Hub-GPT": size.arm(hub_gpt(size.layers)),
        "Hub-Jamba": hybrid,
        "Hub-Jamba, bidirectional": replace(hybrid, routing=BIDIRECTIONAL),
    }


def replaced(size: Size) -> dict[float, Arm]:
    """The Transformer with a share of its attention replaced; none where the layers have no quarter."""
    return {} if size.layers % 4 else {share: size.arm(graduated(size.layers, share)) for share in SHARES}


def as_large_as_jamba(tier: str) -> dict[str, Arm]:
    """Arms of one letter with wider MLPs, by letter."""
    size = SIZES[tier]
    return {letter: size.arm(letter * size.layers, mlp=mlp) for letter, mlp in AS_LARGE_AS_JAMBA.get(tier, {}).items()}


def adaptive(size: Size) -> Arm:
    """Hub-GPT whose number of hubs is chosen by a price."""
    return size.arm(hub_gpt(size.layers), hubs=MOST_HUBS, price=PRICE)


def study_cells(tier: str) -> tuple[Cell, ...]:
    """All arms; in `quick` the systems and Hub-GPT's own chunk alone, which show the direction."""
    size, named = SIZES[tier], systems(SIZES[tier])
    hub_gpt, shares = named["Hub-GPT"], replaced(size)
    if tier == "quick":
        del named["Transformer"]
        return cells((*named.values(), own_chunk(hub_gpt)), size.seeds)
    quarter = shares[0.25]
    main = (*named.values(), quarter, replace(quarter, routing=BIDIRECTIONAL), *as_large_as_jamba(tier).values())
    explaining = (
        *ablations(named["Hub-Jamba"]).values(),
        *ablations(quarter).values(),
        *(arm for share, arm in shares.items() if share != 0.25),
        adaptive(size),
    )
    selected = replace(hub_gpt, council="selected")
    return cells((*main, *ablations(hub_gpt).values(), selected), size.seeds) + cells(
        explaining, min(FEWER, size.seeds)
    )


EXPERIMENT = study("systems", study_cells)
