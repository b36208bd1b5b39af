"""Proof by betting: gamblers trained online on random symbols until their wealth is proof, or the budget is spent.

Why wealth is a martingale for every causal subject. Let F(s, t) hold all batches before batch s, and of batch s the
symbols of *all* rows up to position t. The weights in batch s are learnt from earlier batches alone. A causal output
at position t is fixed by F(s, t); the symbols of all rows at position t + 1 are independent of it and of each other;
so the product over rows of the factors has mean 1 given F(s, t). A bet on t + h, h > 1, is fixed before, and settled
when that symbol comes. Wealth is looked at between batches only, so the order in which a batch is multiplied does not
matter to it: it is as valid read position by position, as here, as row by row. Read so, influence of other rows at
the same or an earlier position is no leak, and can never certify one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace

import torch
from torch import Tensor

from audits.betting.bettor import bettor, one_line
from audits.betting.result import BetResult
from audits.betting.stakes import Stakes
from audits.betting.table import Table
from audits.betting.wealth import certifies, mean_wealth
from audits.evidence.machine import environment
from audits.subject.randomness import generator, pinned
from audits.subject.subject import Model, Settings, SubjectError, prepare

GIVE_UP = 20  # steps in a row without a finite gradient after which nothing more can be learnt (our choice)
Watch = Callable[[int, float], None]  # steps played, log wealth in nats


def bet(
    model: Model,
    settings: Settings,
    stakes: Stakes = Stakes(),  # noqa: B008 - frozen
    *,
    target: str | None = None,
    watch: Watch | None = None,
) -> BetResult:
    """Try to prove that a model sees its future, by winning bets on random tokens.

    Args:
        model: maps tokens int64 [B, N] to [B, N, V], or features float [B, N, D] to [B, N, ...]. It is left as it is.
        settings: what it eats; `batch` is the number of rows in a step, `dtype` defaults to float32.
        stakes: level, budget and how to play.
        target: how the model is called in the result.
        watch: told of every step.

    Returns:
        A certificate (verdict LEAK), or NOT_PROVEN, which says nothing in favour of the model.

    Raises:
        SubjectError: the model cannot be bet on with these settings, or no step gave a finite gradient.
    """
    settings.check()
    stakes.check(settings.seq_len)
    with one_line(f"device {settings.device!r}"):
        torch.empty(0, device=settings.device)
    settings = prepare(model, replace(settings, dtype=settings.dtype or "float32")).settings
    started = time.perf_counter()
    tables = [Table(bettor(model, settings, size, stakes.freeze), stakes) for size in stakes.sizes(settings.vocab_size)]
    trace, stopped = play(tables, stakes, settings, watch)
    if all(table.lost == len(table.trace) for table in tables):
        raise SubjectError("predictions or gradients were never finite, so nothing was tested: check dtype and weights")
    return BetResult.of(
        target or type(model).__name__,
        stakes.alpha,
        trace,
        tuple(table.account() for table in tables),
        symbols=len(trace) * settings.batch * (settings.seq_len - stakes.ahead) * len(tables),
        stopped=stopped,
        seconds=time.perf_counter() - started,
        settings={**asdict(settings), **asdict(stakes)},
        environment=environment(settings.device),
    )


def play(
    tables: Sequence[Table], stakes: Stakes, settings: Settings, watch: Watch | None = None
) -> tuple[list[float], str]:
    """Play until proof or the end of the budget; the global generators are pinned to the seed, and put back after.

    Returns:
        The log of the tables' mean wealth after each step, in nats, and why the game stopped. The money is divided
        equally among the tables beforehand, so their mean is one wealth.
    """
    streams = [draws(len(t.gambler.alphabet), settings) for t in tables]
    trace: list[float] = []
    started = time.perf_counter()
    with pinned(settings.seed):
        while len(trace) < stakes.steps:
            for table, stream in zip(tables, streams, strict=True):
                with one_line("training the copy"):
                    table.step(next(stream))
            trace.append(mean_wealth([table.trace[-1] for table in tables]))
            if watch:
                watch(len(trace), trace[-1])
            if certifies(trace[-1], stakes.alpha) and not stakes.to_the_end:
                return trace, "proof"
            if all(table.lost_in_a_row >= GIVE_UP for table in tables):
                return trace, f"predictions or gradients were not finite in {GIVE_UP} steps in a row"
            if stakes.seconds is not None and time.perf_counter() - started > stakes.seconds:
                return trace, "time budget spent"
    return trace, "step budget spent"


def draws(symbols: int, settings: Settings) -> Iterator[Tensor]:
    """Batches int64 [B, N] of independent uniform symbols, without end, from a generator nobody else draws from."""
    gen = generator(settings.seed, "bets", symbols)
    while True:
        yield torch.randint(symbols, (settings.batch, settings.seq_len), generator=gen)
