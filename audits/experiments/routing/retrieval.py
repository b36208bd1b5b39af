"""BM25 on HotpotQA-style questions: how often two of 16 segments hold a supporting sentence."""

from __future__ import annotations

from typing import Any

from audits.evidence.experiment import Experiment, Options, Progress, RunSpec
from hubrouter.diagnostic.bm25 import bm25_scores
from hubrouter.diagnostic.tasks.hotpot import PICKED, SEGMENTS, small

NAME = "routing-retrieval"


def runs(options: Options) -> tuple[RunSpec, ...]:  # noqa: ARG001
    """The small set that comes with the code; nothing in it is random."""
    config = {"questions": "small", "count": len(small()), "segments": SEGMENTS, "picked": PICKED}
    return (RunSpec(NAME, config, 0, "BM25 on the small HotpotQA-style set"),)


def execute(spec: RunSpec, options: Options, progress: Progress) -> dict[str, Any]:  # noqa: ARG001
    """Rank, pick and look."""
    questions = small()
    found = []
    for done, question in enumerate(questions):
        picked = bm25_scores(question).sort(descending=True, stable=True).indices[:PICKED].tolist()
        found.append(any(question.supported[segment] for segment in picked))
        progress(done, len(questions), question.text)
    return {
        "found": found,
        "chance": sum(question.chance(PICKED) for question in questions) / len(questions),
        "supported": [sum(question.supported) for question in questions],
    }


EXPERIMENT = Experiment(NAME, runs, execute)
