"""BM25 on HotpotQA-style questions: how often two of 16 segments hold a supporting sentence."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from audits.evidence.experiment import Experiment, Options, Progress, RunSpec
from audits.experiments.training.corpora.text import CorpusError
from hubrouter.diagnostic.bm25 import bm25_scores
from hubrouter.diagnostic.tasks.hotpot import PICKED, SEGMENTS, HotpotError, load, small

NAME, SMALL = "routing-retrieval", "small"


def runs(options: Options) -> tuple[RunSpec, ...]:
    """The small set that comes with the code, and the user's file by its content; nothing is random.

    Raises:
        CorpusError: the file cannot be read, or is not HotpotQA.
    """
    shared = {"segments": SEGMENTS, "picked": PICKED}
    found = [RunSpec(NAME, {"questions": SMALL, "count": len(small())} | shared, 0, "BM25 on the small set")]
    if options.hotpot is not None:
        try:
            digest = hashlib.sha256(Path(options.hotpot).read_bytes()).hexdigest()
            config = {"questions": digest, "count": len(load(Path(options.hotpot)))} | shared
        except (HotpotError, OSError) as problem:
            raise CorpusError(str(problem)) from problem
        found.append(RunSpec(NAME, config, 0, f"BM25 on {Path(options.hotpot).name}"))
    return tuple(found)


def execute(spec: RunSpec, options: Options, progress: Progress) -> dict[str, Any]:
    """Rank, pick and look."""
    of_user = None if spec.config["questions"] == SMALL else options.hotpot
    questions = small() if of_user is None else load(Path(of_user))
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
