"""Runs the test: predictors trained online on random symbols until their wealth is proof, or the budget is spent.

Why wealth is a martingale for every causal subject: `docs/betting.md`, "Why a certificate can be trusted". Influence of
other rows at the same or an earlier position is no leak there, and is never certified.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace

import torch
from torch import Tensor

from audits.betting.config import BetConfig
from audits.betting.eprocess import EProcess
from audits.betting.predictor import make_predictor, one_line
from audits.betting.result import BetResult, BetVerdict
from audits.betting.wealth import certifies, mean_wealth
from audits.evidence.machine import environment
from audits.subject.prepare import prepare
from audits.subject.randomness import generator, pinned
from audits.subject.settings import Settings, SubjectError
from audits.subject.subject import Model

GIVE_UP = 20  # steps in a row without a finite gradient after which nothing more can be learnt (our choice)
Watch = Callable[[int, float], None]  # steps done, log wealth in nats


def bet(
    model: Model,
    settings: Settings,
    config: BetConfig = BetConfig(),  # noqa: B008 - frozen
    *,
    target: str | None = None,
    watch: Watch | None = None,
) -> BetResult:
    """Try to prove that a model sees its future, by winning bets on random tokens.

    Args:
        model: maps tokens int64 [B, N] to [B, N, V], or features float [B, N, D] to [B, N, ...]. It is not changed.
        settings: its inputs; `batch` is the number of rows in a step, `dtype` defaults to float32.
        config: level, budget and how to train.
        target: name of the model in the result.
        watch: called after every step.

    Returns:
        A certificate (verdict LEAK), or NOT_PROVEN, which says nothing in favour of the model.

    Raises:
        SubjectError: the model cannot be tested with these settings, or no step gave a finite gradient.
    """
    settings.check()
    config.check(settings.seq_len)
    with one_line(f"device {settings.device!r}"):
        torch.empty(0, device=settings.device)
    settings = prepare(model, replace(settings, dtype=settings.dtype or "float32")).settings
    started = time.perf_counter()
    processes = [
        EProcess(make_predictor(model, settings, size, config.freeze), config)
        for size in config.sizes(settings.vocab_size)
    ]
    log_wealth, stopped = run_until_proof(processes, config, settings, watch)
    if all(process.skipped == len(process.log_wealth) for process in processes):
        raise SubjectError("predictions or gradients were never finite, so nothing was tested: check dtype and weights")
    proven_at = next((step for step, log in enumerate(log_wealth, 1) if certifies(log, config.alpha)), None)
    predictors = tuple(process.summary() for process in processes)
    return BetResult(
        target=target or type(model).__name__,
        verdict=BetVerdict.NOT_PROVEN if proven_at is None else BetVerdict.LEAK,
        alpha=config.alpha,
        log10_e_value=log_wealth[(proven_at or len(log_wealth)) - 1] / math.log(10),
        p_value=min(1.0, math.exp(-max(log_wealth))),
        proven_at=proven_at,
        steps=len(log_wealth),
        bits_per_token=max(summary.bits_per_token for summary in predictors),
        predictors=predictors,
        symbols=len(log_wealth) * settings.batch * (settings.seq_len - config.ahead) * len(processes),
        stopped=stopped,
        seconds=time.perf_counter() - started,
        settings={**settings.as_dict(), **asdict(config)},
        environment=environment(settings.device),
    )


def run_until_proof(
    processes: Sequence[EProcess], config: BetConfig, settings: Settings, watch: Watch | None = None
) -> tuple[list[float], str]:
    """Train and bet until proof or the end of the budget; the global generators are seeded, and restored afterwards.

    The log of the mean wealth after each step, in nats, and why the test stopped. The initial wealth is divided equally
    among the processes, so their mean is a martingale as well.
    """
    streams = [batches(len(process.predictor.alphabet), settings) for process in processes]
    log_wealth: list[float] = []
    started = time.perf_counter()
    with pinned(settings.seed):
        while len(log_wealth) < config.steps:
            for process, stream in zip(processes, streams, strict=True):
                with one_line("training the copy"):
                    process.step(next(stream))
            log_wealth.append(mean_wealth([process.log_wealth[-1] for process in processes]))
            if watch:
                watch(len(log_wealth), log_wealth[-1])
            if certifies(log_wealth[-1], config.alpha) and not config.to_the_end:
                return log_wealth, "proof"
            if all(process.skipped_in_a_row >= GIVE_UP for process in processes):
                return log_wealth, f"predictions or gradients were not finite in {GIVE_UP} steps in a row"
            if config.seconds is not None and time.perf_counter() - started > config.seconds:
                return log_wealth, "time budget spent"
    return log_wealth, "step budget spent"


def batches(symbols: int, settings: Settings) -> Iterator[Tensor]:
    """Batches int64 [B, N] of independent uniform symbols, without end, from a generator that nothing else uses."""
    gen = generator(settings.seed, "bets", symbols)
    while True:
        yield torch.randint(symbols, (settings.batch, settings.seq_len), generator=gen)
