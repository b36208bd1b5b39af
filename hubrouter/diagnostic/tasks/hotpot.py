"""HotpotQA-style retrieval (arXiv:1809.09600): 16 segments of sentences, some of which support the answer.

Reads the published JSON in both formats: the authors' (a list of questions with `context: [[title, [sentences]]]`
and `supporting_facts: [[title, number]]`) and Hugging Face's (the same as columns), as a list or as JSON Lines.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import pairwise
from math import comb
from pathlib import Path
from typing import Any

SEGMENTS, PICKED = 16, 2


class HotpotError(ValueError):
    """A file that is not HotpotQA; the message names the file and the question."""


@dataclass(frozen=True)
class Question:
    """A question and its context in segments.

    Attributes:
        text: the question.
        segments: runs of sentences, in order.
        supported: which of them contain a supporting sentence.
    """

    text: str
    segments: tuple[str, ...]
    supported: tuple[bool, ...]

    def chance(self, picked: int = PICKED) -> float:
        """The probability that segments picked at random contain a supporting sentence."""
        total, empty = len(self.segments), self.supported.count(False)
        return 1 - comb(empty, picked) / comb(total, picked)


def small() -> tuple[Question, ...]:
    """The bundled questions, in the same format; written for this package, not taken from HotpotQA."""
    text = files("hubrouter.diagnostic").joinpath("data/hotpot_small.json").read_text(encoding="utf-8")
    return _questions(text, "hotpot_small.json")


def load(path: Path) -> tuple[Question, ...]:
    """All questions of a file.

    Raises:
        HotpotError: it is not HotpotQA's JSON.
        OSError: it cannot be read.
    """
    return _questions(path.read_text(encoding="utf-8"), path.name)


def _questions(text: str, name: str) -> tuple[Question, ...]:
    try:
        entries = (
            json.loads(text) if text.lstrip().startswith("[") else [json.loads(line) for line in text.splitlines()]
        )
    except json.JSONDecodeError as problem:
        raise HotpotError(f"{name} is neither a JSON list nor JSON Lines: {problem}") from None
    return tuple(_question(entry, f"{name}, question {number}") for number, entry in enumerate(entries, 1))


def _question(entry: Any, where: str) -> Question:
    try:
        facts = set(_facts(entry["supporting_facts"]))
        sentences = [
            (sentence.strip(), (title, number) in facts)
            for title, part in _paragraphs(entry["context"])
            for number, sentence in enumerate(part)
        ]
        return segmented(str(entry["question"]), sentences)
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        raise HotpotError(f"{where} is not of HotpotQA's form: {type(problem).__name__}: {problem}") from None


def _paragraphs(context: Any) -> Iterator[tuple[str, Sequence[str]]]:
    if isinstance(context, dict):
        yield from zip(context["title"], context["sentences"], strict=True)
    else:
        yield from ((title, sentences) for title, sentences in context)


def _facts(facts: Any) -> Iterator[tuple[str, int]]:
    if isinstance(facts, dict):
        yield from zip(facts["title"], facts["sent_id"], strict=True)
    else:
        yield from ((title, number) for title, number in facts)


def segmented(text: str, sentences: Sequence[tuple[str, bool]], count: int = SEGMENTS) -> Question:
    """Sentences (each with whether it is supporting) in `count` runs whose numbers of sentences differ by at most one.

    Raises:
        ValueError: fewer sentences than segments.
    """
    if len(sentences) < count:
        raise ValueError(f"{len(sentences)} sentences do not fill {count} segments")
    borders = [index * len(sentences) // count for index in range(count + 1)]
    runs = [sentences[low:high] for low, high in pairwise(borders)]
    segments = tuple(" ".join(sentence for sentence, _ in run) for run in runs)
    return Question(text, segments, tuple(any(supports for _, supports in run) for run in runs))
