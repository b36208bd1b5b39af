"""Attention masks: padding is read from every form, and what is not causal order and padding is refused."""

from __future__ import annotations

import pytest
import torch

from hubrouter.adapters import AdapterError
from hubrouter.adapters.masks import real_tokens, refuse_documents

REAL = torch.tensor([[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0], [1, 0, 1, 0, 1, 1], [0, 0, 0, 0, 0, 0]], dtype=torch.bool)
X = torch.zeros(4, 6, 2)


def causal(real, queries=6, keys=6):
    """The mask that transformers builds: [B, 1, N, T], True where a key may be read; unwritten keys are hidden."""
    past = real.shape[1] - queries
    order = torch.arange(keys) <= torch.arange(past, past + queries)[:, None]
    padded = torch.nn.functional.pad(real, (0, keys - real.shape[1]))
    return (order & padded[:, None])[:, None]


def additive(seen, dtype=torch.float32):
    return torch.zeros(seen.shape, dtype=dtype).masked_fill(~seen, torch.finfo(dtype).min)


FORMS = {
    "numbers": REAL.long(),
    "booleans": REAL,
    "floats": REAL.float(),
    "causal": causal(REAL),
    "additive": additive(causal(REAL)),
    "additive in half precision": additive(causal(REAL), torch.float16),
    "minus infinity": torch.zeros(4, 1, 6, 6).masked_fill(~causal(REAL), float("-inf")),
    "one for each head": causal(REAL).expand(-1, 3, -1, -1),
    "longer than the sequence": causal(REAL, keys=9),
}


@pytest.mark.parametrize("form", FORMS)
def test_padding_is_read_from_every_form(form):
    assert torch.equal(real_tokens(FORMS[form], X, 0), REAL)


@pytest.mark.parametrize("form", ["2-D", "4-D", "4-D of a static cache"])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_the_past_is_read_as_well(form, size):
    real = REAL.clone()
    real[:, -size] = True  # a real token shows which earlier ones are real
    mask = {"2-D": real, "4-D": causal(real, size), "4-D of a static cache": causal(real, size, 9)}[form]
    assert torch.equal(real_tokens(mask, X[:, -size:], 6 - size), real)


def test_no_mask_means_no_padding():
    assert real_tokens(None, X, 3).all()
    assert real_tokens(None, X, 3).shape == (4, 6)


def test_one_causal_mask_applies_to_all_rows():
    assert real_tokens(causal(torch.ones(1, 6, dtype=torch.bool)), X, 0).all()


@pytest.mark.parametrize("row", [True, False])
def test_the_mask_rows_of_padding_do_not_matter(row):
    mask = causal(REAL)
    mask[:, 0][~REAL] = (
        mask[:, 0][~REAL] | torch.eye(6, dtype=torch.bool)[None].expand(4, -1, -1)[~REAL].roll(1, 1) & row
    )
    assert torch.equal(real_tokens(mask, X, 0), REAL)


def everyone():
    return causal(torch.ones(4, 6, dtype=torch.bool))


def without(query, key):
    mask = everyone()
    mask[1, 0, query, key] = False
    return mask


def packed():
    document = torch.tensor([0, 0, 0, 1, 1, 1])
    return everyone() & (document[:, None] == document)


def future():
    mask = everyone()
    mask[2, 0, 1, 4] = True
    return mask


def by_head():
    mask = everyone().expand(-1, 2, -1, -1).clone()
    mask[0, 1, 5, 0] = False
    return mask


REFUSED = [
    (packed(), "packed documents"),
    (everyone() & ~everyone().tril(-3), "sliding window"),
    (without(5, 0), "hides earlier real tokens"),
    (without(3, 2), "hides earlier real tokens"),
    (by_head(), "hides earlier real tokens"),
    (future(), "lets tokens read later ones"),
    (torch.ones(4, 1, 6, 6, dtype=torch.bool), "lets tokens read later ones"),
    (additive(everyone()) - torch.arange(6.0), "adds a bias"),
    (torch.full((4, 1, 6, 6), float("nan")), "adds a bias"),
    (torch.tensor([[1, 1, 1, 2, 2, 2]] * 4), "packed documents"),
    (torch.ones(4, 5), "fits neither"),
    (torch.ones(2, 6), "fits neither"),
    (everyone()[:, :, :5], "does not fit"),
    (everyone()[:, :, :, :5], "does not fit"),
    (everyone()[:3], "does not fit"),
    (torch.ones(4, 6, 6), "2 or 4 axes"),
    ({"full_attention": None}, "attention_mask is a dict"),
]


@pytest.mark.parametrize(("mask", "why"), REFUSED, ids=[str(i) for i in range(len(REFUSED))])
def test_any_other_mask_is_refused_in_one_line(mask, why):
    with pytest.raises(AdapterError, match=why) as error:
        real_tokens(mask, X, 0)
    assert "\n" not in str(error.value)


POSITIONS = [
    (None, True),
    ([[0, 1, 2, 3, 4, 5]], True),
    ([[7, 8, 9, 10, 11, 12]], True),
    ([[0, 1, 2, 0, 1, 2]], False),
    ([[0, 0, 0, 0, 0, 0]], False),
    ([[0, 1, 2, 3, 4, 4]], False),
]


@pytest.mark.parametrize(("positions", "fine"), POSITIONS)
def test_positions_that_restart_are_documents(positions, fine):
    given = None if positions is None else torch.tensor(positions)
    if fine:
        refuse_documents(given, torch.ones(4, 6, dtype=torch.bool))
        return
    with pytest.raises(AdapterError, match="position_ids restart"):
        refuse_documents(given, torch.ones(4, 6, dtype=torch.bool))


@pytest.mark.parametrize("filler", [0, 1, 99])
def test_positions_of_padding_do_not_matter(filler):
    counted = (REAL.long().cumsum(1) - 1).masked_fill(~REAL, filler)
    refuse_documents(counted, REAL)
