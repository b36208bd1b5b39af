"""Which tokens are selected: at every length from everywhere, by position where that is asked for, and not by luck."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hubrouter import ConfigError, HubRouter, ModelConfig, RouterConfig, SequenceModel
from hubrouter.select import GRID, Select

WIDE = RouterConfig(64, n_heads=4, n_hubs=8, k=16, chunk=16, neighbours=0)


def layer(config: RouterConfig, seed: int = 0) -> HubRouter:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return HubRouter(config)


def chosen(config: RouterConfig, length: int, seed: int = 0) -> Tensor:
    """Positions that a fresh layer selects before each chunk, [G, K]; made for rankings by position."""
    return layer(config, seed).selected(torch.zeros(1, length, config.d_model))[0]


@torch.no_grad()
@pytest.mark.parametrize("length", [256, 2048])
def test_a_fresh_layer_does_not_select_from_the_first_chunk_alone(length: int) -> None:
    share = []
    for seed in range(3):
        fresh, x = layer(WIDE, seed), torch.randn(1, length, 64, generator=torch.Generator().manual_seed(seed))
        scores = scores_of(fresh, x).view(-1, WIDE.chunk)
        # Before the fingerprints were normalised, scores varied 20 to 50 times as much in the first chunk as later.
        assert 0.4 < float(scores[0].std() / scores[1:].std()) < 2.5
        best = fresh.selected(x)
        share.append(float((best[best >= 0] < WIDE.chunk).float().mean()))
    by_chance = sum(1 / border for border in range(1, length // WIDE.chunk)) / (length // WIDE.chunk - 1)
    assert sum(share) / 3 < 2 * by_chance


def scores_of(fresh: HubRouter, x: Tensor) -> Tensor:
    """Scores [N] of one row."""
    found: list[Tensor] = []
    handle = fresh.score.register_forward_hook(lambda _module, _inputs, score: found.append(score.flatten()))
    fresh(x)
    handle.remove()
    return torch.cat(found)[: x.shape[1]]


def test_recent_tokens_are_those_before_the_chunk() -> None:
    config = RouterConfig(8, k=6, chunk=4, selection="recent", neighbours=0)
    for border, tokens in enumerate(chosen(config, 24)):
        end = 4 * border
        assert tokens[: min(6, end)].tolist() == list(range(end - 1, max(0, end - 6) - 1, -1))


def test_random_tokens_are_a_uniform_sample_of_the_past() -> None:
    config = RouterConfig(8, k=16, chunk=16, selection="random", neighbours=0)
    last = torch.stack([chosen(config, 257, seed)[-1] for seed in range(200)])
    assert all(len(set(row.tolist())) == 16 for row in last)
    counts = torch.bincount(last.flatten(), minlength=256).view(16, 16).sum(1)  # 200 expected in each of 16 chunks
    assert float(((counts - 200).square() / 200).sum()) < 38  # the 99.9 % point of chi-squared with 15 degrees


def test_layers_draw_different_seeds_and_keep_them_in_their_weights() -> None:
    config = ModelConfig(vocab_size=7, pattern="HH", d_model=8, selection="random")
    model, other = SequenceModel(config), SequenceModel(config)
    seeds = [int(block.mixer.select.seed) for block in (*model.blocks, *other.blocks)]
    assert len(set(seeds)) == 4
    other.load_state_dict(model.state_dict())
    tokens = torch.randint(7, (1, 64), generator=torch.Generator().manual_seed(0))
    assert torch.equal(other(tokens), model(tokens))


def test_a_ranking_by_position_survives_low_precision() -> None:
    select = Select(RouterConfig(8, selection="recent"))
    ranking = select.ranking(torch.zeros(1, 4, dtype=torch.bfloat16), 2**24 - 4)
    assert (ranking * GRID).tolist() == [[2**24 - 4, 2**24 - 3, 2**24 - 2, 2**24 - 1]]


def test_a_bidirectional_layer_has_no_selection_by_chunk() -> None:
    with pytest.raises(ConfigError, match="selects once, not by chunk: build it with causal=True"):
        layer(RouterConfig(8, causal=False)).selected(torch.zeros(1, 4, 8))
