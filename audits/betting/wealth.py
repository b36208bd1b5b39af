"""Wealth of a predictor that bets on fair dice: a test martingale, whatever it bets, if it cannot see the future.

Betting a fraction l of the wealth on a distribution p over A equally likely symbols, and the rest on the uniform one,
multiplies it by 1 - l + l A p(x), whose mean over x is 1. By Ville's inequality it ever reaches 1/alpha with a
probability of at most alpha. The initial wealth is divided among fractions and starting times: `docs/betting.md`
derives all this.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# Fractions of the wealth bet on each symbol (our choice): powers of 4 for noisy predictors, then nearly all of it.
FRACTIONS = (2.0**-12, 2.0**-10, 2.0**-8, 2.0**-6, 2.0**-4, 2.0**-2, 0.5, 0.95)
# The part of the initial wealth that is never bet (our choice): wealth never falls below it.
RESERVE = 0.1


def log_factors(log_p: Tensor, symbols: int, fractions: Tensor) -> Tensor:
    """Natural logarithms of the factors 1 - l + l A p, for each fraction l: [..., L] in float64.

    `log_p` [...] is what the predictor gave to the symbols drawn, of A = `symbols`, in nats, -inf allowed; `fractions`
    [L] are at least 0 and below 1, so that no factor is 0. A NaN prediction counts as uniform, a factor of 1.
    Log-softmax makes every entry NaN, or (of infinite logits) some NaN and the others -inf: their mean is 1 or less.
    """
    odds = (log_p.double() + math.log(symbols)).exp()[..., None]
    factors = torch.log1p(fractions.to(odds) * (odds - 1.0))
    return factors.where(~odds.isnan(), 0.0)


@dataclass(frozen=True)
class Wealth:
    """The wealth of a mixture of strategies after some rounds; immutable, so that simulations can branch from it.

    What is not reserved is divided equally among the strategies, and for each of them among the rounds 1, 2, … in parts
    1/(t (t+1)): the part for round t is not bet before then. Leading axes [...] are independent runs.
    """

    rounds: int  # settled so far
    invested: Tensor  # log wealth of what has been released for betting, [..., L], in nats

    @staticmethod
    def start(runs: tuple[int, ...] = (), strategies: int = len(FRACTIONS)) -> Wealth:
        """Before the first round."""
        return Wealth(0, torch.full((*runs, strategies), -math.inf, dtype=torch.float64))

    def after(self, log_gain: Tensor) -> Wealth:
        """The wealth after a round, which multiplied what each strategy bet by exp(log_gain), [..., L]; -inf is ruin.

        Raises:
            ValueError: a gain is NaN or infinite: such a gain proves nothing.
        """
        gain = log_gain.double()
        if bool((gain.isnan() | gain.isposinf()).any()):
            raise ValueError("a gain is not a finite number of nats: predictions must be cleaned first (log_factors)")
        t = self.rounds + 1
        released = math.log((1 - RESERVE) / self.invested.shape[-1]) - math.log(t) - math.log(t + 1)
        return Wealth(t, torch.logaddexp(self.invested, torch.tensor(released, dtype=torch.float64)) + gain)

    @property
    def log(self) -> Tensor:
        """Logarithm of the total wealth, [...], in nats: 0 at the start, and never below that of RESERVE."""
        not_bet = math.log(RESERVE + (1 - RESERVE) / (self.rounds + 1))
        return torch.logaddexp(self.invested.logsumexp(-1), torch.tensor(not_bet, dtype=torch.float64))


def certifies(log_wealth: float, alpha: float) -> bool:
    """Whether this wealth is a certificate at level alpha: at least 1/alpha."""
    return log_wealth >= -math.log(alpha)


def mean_wealth(logs: Sequence[float]) -> float:
    """Log of the mean of wealths given by their logs."""
    top = max(logs)
    return top + math.log(sum(math.exp(log - top) for log in logs) / len(logs))
