"""Settings of the test by betting: its level, its budget and how the predictors are trained."""

from __future__ import annotations

import math
from dataclasses import dataclass

from audits.subject.settings import SubjectError


@dataclass(frozen=True)
class BetConfig:
    """Settings of one test; the defaults are our choice.

    Attributes:
        alpha: level of the test: a causal subject is reported as leaking with at most this probability.
        steps: batches at most.
        seconds: wall-clock time at most; None sets no limit. The level alpha holds wherever the test stops, but with a
            limit the same seed need not stop at the same step.
        ahead: h; the output at position t bets on the symbol at t + h.
        alphabets: one predictor is trained for each size; two symbols are learnt fastest, but with two many tokens are
            equal and rankings tie. A size above the vocabulary is taken as the vocabulary.
        lr: Adam's learning rate; None chooses it from the number of parameters.
        freeze: patterns (`*`, `?`) of parameter names that are not trained.
        training_mode: run the model in training mode (dropout, batch statistics) instead of evaluation mode.
        to_the_end: continue to the last step after a proof, to measure how much information can be extracted.
    """

    alpha: float = 1e-3
    steps: int = 400
    seconds: float | None = None
    ahead: int = 1
    alphabets: tuple[int, ...] = (2, 16)
    lr: float | None = None
    freeze: tuple[str, ...] = ()
    training_mode: bool = False
    to_the_end: bool = False

    def check(self, seq_len: int) -> None:
        """Raise SubjectError where a setting is out of range."""
        rules = [
            (0 < self.alpha < 1, f"alpha must lie between 0 and 1, not {self.alpha}"),
            (self.steps >= 1, f"steps must be at least 1, not {self.steps}"),
            (self.seconds is None or self.seconds > 0, f"seconds must be above 0, not {self.seconds}"),
            (1 <= self.ahead < seq_len, f"ahead must be at least 1 and below seq_len={seq_len}, not {self.ahead}"),
            (len(self.alphabets) > 0, "alphabets must name at least one size, for instance 2,16"),
            (all(a >= 2 for a in self.alphabets), f"every alphabet needs at least 2 symbols, not {self.alphabets}"),
            (self.lr is None or 0 < self.lr < math.inf, f"lr must be above 0 and finite, not {self.lr}"),
        ]
        for holds, message in rules:
            if not holds:
                raise SubjectError(message)

    def sizes(self, vocab_size: int | None) -> tuple[int, ...]:
        """The alphabets that fit the vocabulary, each once."""
        return tuple(dict.fromkeys(min(size, vocab_size or size) for size in self.alphabets))
