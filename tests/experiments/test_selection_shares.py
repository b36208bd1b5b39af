"""Shares of slots by chunk, on layers that select where we say."""

from __future__ import annotations

import torch

from audits.experiments.language_models import _selection
from audits.experiments.language_models._selection import selection_shares
from hubrouter import ModelConfig, SequenceModel

SHAPE = {"vocab_size": 7, "pattern": "HAH", "d_model": 8, "n_heads": 2, "k": 4, "chunk": 4, "neighbours": 0}


def shares(monkeypatch, **ablation):
    monkeypatch.setattr(_selection, "LENGTHS", (64, 1000))
    model = SequenceModel(ModelConfig(**SHAPE, **ablation))
    return selection_shares(model, torch.randint(7, (100,), generator=torch.Generator().manual_seed(0)))


def test_each_hub_layer_is_described_at_each_length_for_which_there_are_tokens(monkeypatch) -> None:
    assert [(row["n"], row["layer"]) for row in shares(monkeypatch)] == [(64, 0), (64, 1)]


def test_recent_tokens_are_found_where_they_are(monkeypatch) -> None:
    row = shares(monkeypatch, selection="recent")[0]
    found = (row["first"], row["eighth"], row["half"])
    assert found == (0.0667, 0.1333, 0.4667)  # 1, 2 and 7 of 15 borders, each of which reads the chunk before it


def test_random_tokens_lie_where_chance_says(monkeypatch) -> None:
    torch.manual_seed(0)
    rows = [shares(monkeypatch, selection="random")[0] for _ in range(40)]
    for name in ("first", "eighth", "half"):
        mean = sum(row[name] for row in rows) / len(rows)
        assert abs(mean - rows[0]["uniform"][name]) < 0.05
