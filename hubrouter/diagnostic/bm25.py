"""BM25 over the segments of a question, by the library bm25s."""

from __future__ import annotations

import torch
from torch import Tensor

from hubrouter.config import ConfigError
from hubrouter.diagnostic.tasks.hotpot import Question
from hubrouter.shapes import Float


def bm25_scores(question: Question) -> Float[Tensor, " U"]:
    """A score for each segment; lower case, without English stop words, without stemming (our choice).

    Raises:
        ConfigError: bm25s is not installed.
    """
    try:
        import bm25s
    except ImportError:
        raise ConfigError("BM25 needs the package bm25s: install hubrouter-audit[audit]") from None
    index = bm25s.BM25()
    index.index(bm25s.tokenize(list(question.segments), show_progress=False), show_progress=False)
    words = bm25s.tokenize(question.text, return_ids=False, show_progress=False)[0]
    known = [word for word in words if word in index.vocab_dict]
    if not known:
        return torch.zeros(len(question.segments))
    return torch.from_numpy(index.get_scores(known).copy())
