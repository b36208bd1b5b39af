"""The routing tasks: labels are where the generators put them, distances hold, no second match unless asked for."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hubrouter.diagnostic.tasks import hotpot
from hubrouter.diagnostic.tasks.distant_evidence import SIDES, DistantEvidence
from hubrouter.diagnostic.tasks.hotpot import HotpotError, segmented
from hubrouter.diagnostic.tasks.mqar import IGNORED, Mqar

SMALL = DistantEvidence(40, 15, 12, 3)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(deadline=None, max_examples=60)
@given(
    far=st.booleans(),
    same=st.booleans(),
    side=st.sampled_from(SIDES),
    distractors=st.integers(0, 3),
    seed=st.integers(),
)
def test_the_answer_and_the_distractors_lie_where_configured(far, same, side, distractors, seed):
    task = replace(SMALL, far=far, same_key=same, side=side, distractors=distractors)
    batch = task.draw(16, generator(seed % 2**32))
    for tokens, query, answer, label in zip(*(part.tolist() for part in batch[:4]), strict=True):
        assert tokens[answer] == tokens[query]
        assert tokens[answer + 1] == label
        assert query not in (answer, answer + 1)
        assert (abs(answer - query) >= task.distance) == far
        assert side == "either" or (answer < query) == (side == "before")
        others = [
            place for place, token in enumerate(tokens) if token == tokens[query] and place not in (query, answer)
        ]
        assert len(others) == (distractors if same else 0)  # so there is no unintended match
        assert all((abs(place - query) < task.distance) == far for place in others)
        assert all(1 <= token < task.vocab_size for token in tokens)


def test_distractors_of_another_key_share_it() -> None:
    tokens = replace(SMALL, same_key=False).draw(64, generator()).tokens
    counts = torch.stack([torch.bincount(row, minlength=12) for row in tokens])
    assert (counts.max(1).values >= 3).all()


def test_query_and_answer_take_every_place_that_fits() -> None:
    batch = DistantEvidence(8, 4, 9, 0).draw(4000, generator())
    seen = {(int(q), int(a)) for q, a in zip(batch.query, batch.answer, strict=True)}
    assert seen == {(q, a) for q in range(8) for a in range(7) if abs(q - a) >= 4}


@pytest.mark.parametrize("task", [SMALL, Mqar(64, 8, 64), Mqar(64, 8, 64, filler="zero")], ids=str)
def test_a_generator_in_the_same_state_draws_the_same(task) -> None:
    first, second, third = (task.draw(8, generator(seed)) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first.tokens, third.tokens)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DistantEvidence(side="left"), "side must be one of before, after, either"),
        (lambda: DistantEvidence(vocab_size=3), "vocab_size must be at least 4"),
        (lambda: DistantEvidence(length=100), "no answer fits"),
        (lambda: DistantEvidence(20, 4, distractors=4).draw(4, generator()), "no place for 4 distractors"),
        (lambda: Mqar(length=60), "length must be at least 64 for 16 pairs"),
        (lambda: Mqar(vocab_size=32), "vocab_size must be at least 34"),
        (lambda: Mqar(pairs=3), "picks=4 must be at most pairs=3"),
        (lambda: Mqar(filler="ones"), "filler must be random or zero"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_with_a_reason(make, message) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_one_question_of_recall_asks_for_the_value_of_one_key() -> None:
    task = Mqar(64, 8, 64)
    batch = task.draw(200, generator())
    assert (batch.query == 63).all()
    for tokens, answer, label, free in zip(
        batch.tokens.tolist(), batch.answer.tolist(), batch.label.tolist(), batch.candidates.tolist(), strict=True
    ):
        keys, values = tokens[:16:2], tokens[1:16:2]
        assert sorted(set(keys)) == sorted(keys)
        assert sorted(set(values)) == sorted(values)
        assert max(keys) < 32 <= min(values)
        assert (tokens[answer], tokens[answer + 1]) == (tokens[-1], label)
        assert [place for place, may in enumerate(free) if may] == list(range(0, 16, 2))
        assert not set(keys) & set(tokens[16:-1])


def test_filler_may_repeat_a_key_where_that_is_asked_for() -> None:
    task = Mqar(64, 8, 64, unintended=True)
    tokens = task.draw(50, generator()).tokens
    assert any(set(row[:16:2]) & set(row[16:-1]) for row in tokens.tolist())


def test_recall_in_zoologys_form_asks_every_key_once_at_gaps_that_favour_the_near() -> None:
    task = Mqar(128, 8, 64, filler="zero")
    tokens, labels = task.draw_all(400, generator())
    places = []
    for row, values in zip(tokens.tolist(), labels.tolist(), strict=True):
        value_of = dict(zip(row[:16:2], row[1:16:2], strict=True))
        asked = [place for place, label in enumerate(values) if label != IGNORED]
        assert sorted(row[place] for place in asked) == sorted(value_of)
        assert all(values[place] == value_of[row[place]] for place in asked)
        assert min(asked) >= 16
        places += [(place - 16) // 2 for place in asked]
    law = 0.01 * np.arange(1, 57) ** (0.01 - 1)
    oracle, draw = np.random.default_rng(0), np.zeros(56)
    for _ in range(400):
        draw[oracle.choice(56, size=8, replace=False, p=law / law.sum())] += 1  # as Zoology draws them
    assert np.abs(np.bincount(places, minlength=56) - draw).max() < 60  # four standard deviations of a difference


def test_the_bundled_questions_are_consistent() -> None:
    questions = hotpot.small()
    assert len(questions) == 40
    for question in questions:
        assert len(question.segments) == 16
        assert 1 <= sum(question.supported) <= 2


def entry(sentences: int = 16) -> dict:
    first = {"title": ["a", "b"], "sentences": [["x."] * (sentences - 1), ["y."]]}
    return {"question": "what?", "supporting_facts": {"title": ["b"], "sent_id": [0]}, "context": first}


def test_both_published_forms_and_json_lines_are_read(tmp_path) -> None:
    rows = entry()
    ours = {
        "question": "what?",
        "supporting_facts": [["b", 0]],
        "context": [["a", ["x."] * 15], ["b", ["y."]]],
    }
    expected = segmented("what?", [("x.", False)] * 15 + [("y.", True)])
    texts = {
        "list": json.dumps([rows]),
        "lines": json.dumps(rows) + "\n" + json.dumps(rows),
        "ours": json.dumps([ours]),
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        assert set(hotpot.load(tmp_path / name)) == {expected}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "neither a JSON list nor JSON Lines"),
        ("[{}]", "question 1 is not of HotpotQA's form: KeyError: 'supporting_facts'"),
        (json.dumps([entry(), entry(15)]), "question 2 .* 15 sentences do not fill 16 segments"),
        ("[3]", "question 1 is not of HotpotQA's form"),
    ],
)
def test_a_file_of_another_form_is_refused_with_its_name_and_the_question(text, message, tmp_path) -> None:
    (tmp_path / "file.json").write_text(text, encoding="utf-8")
    with pytest.raises(HotpotError, match=f"file.json.*{message}"):
        hotpot.load(tmp_path / "file.json")


def test_chance_counts_the_ways_to_miss() -> None:
    question = segmented("?", [(str(n), n in (3, 4)) for n in range(16)])
    assert question.chance() == pytest.approx(1 - 14 * 13 / (16 * 15))
    assert segmented("?", [(str(n), n == 3) for n in range(16)]).chance() == pytest.approx(2 / 16)


def test_segments_contain_all_sentences_in_order_and_differ_by_at_most_one() -> None:
    question = segmented("?", [(str(n), False) for n in range(37)])
    words = [segment.split() for segment in question.segments]
    assert [word for run in words for word in run] == [str(n) for n in range(37)]
    assert {len(run) for run in words} == {2, 3}
