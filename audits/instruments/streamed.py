"""How far what a model returns for an input in pieces differs from what it returns in one pass.

Axes: B (rows), N (positions), F (features).
"""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from audits.instruments.noise_floor import max_abs_diff
from audits.subject.decoding import Decoding
from audits.subject.randomness import generator
from audits.subject.settings import SubjectError
from audits.subject.streaming import Piece, Step, outputs_of_piece, pieces
from audits.subject.subject import Subject


class Streamed(NamedTuple):
    """How far streamed outputs differ from one pass, [N]: those that were due when they were returned; the others."""

    due: Tensor
    early: Tensor

    @property
    def differs(self) -> bool:
        """Whether any does."""
        return bool(self.due.any() or self.early.any())


def streamed(
    decoded: Decoding, step: Step, inputs: Tensor, sizes: list[int], whole: Tensor | None = None, guesses: int = 0
) -> Streamed:
    """All pieces against one pass; before each but the first so many guesses are tried and taken back."""
    subject = decoded.subject
    fed: list[int] = []  # positions, when each output was returned

    def fed_in_pieces(model: Any, given: Tensor) -> Any:
        state, parts, past = None, [], 0
        for piece in pieces(subject, given, sizes):
            if guesses and past:
                state = _taken_back(step, model, _guess(subject, given, past, guesses), state, past)
            output, state = step(model, piece, state, past)
            past += piece.shape[1]
            parts.append(outputs_of_piece(subject, output, piece))
            fed.extend([past] * parts[-1].shape[1])
        missing = decoded.length - len(fed)
        if missing < 0 or bool((decoded.needed[len(fed) :] <= decoded.length).any()):
            raise SubjectError(f"decoding returned {len(fed)} outputs in place of {decoded.length}")
        return functional.pad(torch.cat(parts, dim=1), (0, 0, 0, missing))

    outputs = subject.call(fed_in_pieces, inputs)
    found = max_abs_diff(outputs, subject.run(inputs) if whole is None else whole)[0].cpu()
    found[len(fed) :] = 0
    early = decoded.is_early(torch.tensor([*fed, *[decoded.length] * (decoded.length - len(fed))]))
    return Streamed(found.where(~early, 0.0), found.where(early, 0.0))


def _guess(subject: Subject, given: Tensor, past: int, guesses: int) -> Tensor | Piece:
    """So many tokens that do not follow; under a contract, of another input."""
    gen = generator(subject.settings.seed, "guesses")
    if subject.plan is None:
        return subject.draw(len(given), guesses, gen).to(given)
    other = subject.draw(len(given), given.shape[1], gen).to(given)
    return Piece(other, past, min(past + guesses, given.shape[1]))


def _taken_back(step: Step, model: Any, guess: Tensor | Piece, state: Any, past: int) -> Any:
    """The state after a guess that was rejected: cropped where a cache offers that, else the one before, copied."""
    crops = callable(getattr(state, "crop", None))
    before = state if crops else copy.deepcopy(state)
    _, after = step(model, guess, state, past)
    if crops:
        after.crop(-guess.shape[1])
    return after if crops else before
