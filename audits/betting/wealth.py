"""The wealth of a gambler on fair dice: a nonnegative martingale, whatever it bets, if it cannot see the future.

A predictor names a distribution p over A equally likely symbols before the symbol x is drawn. Staking a share l of
its money on p and the rest on the uniform distribution multiplies its wealth by 1 - l + l A p(x). The mean of that
factor over x is exactly 1, so wealth is a martingale, and by Ville's inequality it ever reaches 1/alpha with
probability at most alpha.

No single share is right: a leak pays in proportion to the share, training noise costs in proportion to its square.
And a predictor is worth nothing before it has learnt. So the money is divided beforehand among several shares and
starting times; a mixture of martingales is a martingale. `docs/betting.md` derives all this.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# Shares of the wealth staked on each symbol (our choice): powers of 4 for noisy predictors, then nearly all of it.
SHARES = (2.0**-12, 2.0**-10, 2.0**-8, 2.0**-6, 2.0**-4, 2.0**-2, 0.5, 0.95)
# The part of the initial money that is never staked (our choice): wealth never falls below it.
KEPT = 0.1


def log_factors(log_p: Tensor, symbols: int, shares: Tensor) -> Tensor:
    """Natural logarithms of the factors 1 - l + l A p, for each share l.

    Args:
        log_p: log-probabilities that the predictor gave to the symbols that came, [...], in nats; -inf is allowed.
        symbols: A, how many equally likely symbols there are.
        shares: [L], each at least 0 and below 1, so that no factor is 0.

    Returns:
        [..., L] in float64. A prediction that is not a number counts as uniform, a factor of 1. Log-softmax makes every
        entry NaN, or (of infinite logits) some NaN and the others -inf, so the mean of the factor is 1 or less.
    """
    odds = (log_p.double() + math.log(symbols)).exp()[..., None]
    factors = torch.log1p(shares.to(odds) * (odds - 1.0))
    return factors.where(~odds.isnan(), 0.0)


@dataclass(frozen=True)
class Wealth:
    """The wealth of a mixture of gamblers after some rounds; immutable, so that a run can be branched in simulations.

    The money that is not kept is divided equally among the shares, and for each share among the rounds 1, 2, … in parts
    1/(t (t+1)): the part for round t waits until then. Leading axes [...] are independent runs.

    Attributes:
        rounds: how many rounds were played.
        staked: log wealth of the money at work, [..., L], in nats.
    """

    rounds: int
    staked: Tensor

    @staticmethod
    def start(runs: tuple[int, ...] = (), gamblers: int = len(SHARES)) -> Wealth:
        """Before the first round."""
        return Wealth(0, torch.full((*runs, gamblers), -math.inf, dtype=torch.float64))

    def after(self, log_gain: Tensor) -> Wealth:
        """The wealth after a round.

        Args:
            log_gain: by how much the round multiplied money staked at each share, [..., L], in nats; it may be a sum
                over any number of symbols. -inf (ruin) is allowed.

        Raises:
            ValueError: a gain is NaN or infinite: such a gain proves nothing.
        """
        gain = log_gain.double()
        if bool((gain.isnan() | gain.isposinf()).any()):
            raise ValueError("a gain is not a finite number of nats: predictions must be cleaned first (log_factors)")
        t = self.rounds + 1
        fresh = math.log((1 - KEPT) / self.staked.shape[-1]) - math.log(t) - math.log(t + 1)
        return Wealth(t, torch.logaddexp(self.staked, torch.tensor(fresh, dtype=torch.float64)) + gain)

    @property
    def log(self) -> Tensor:
        """Logarithm of the total wealth, [...], in nats: 0 at the start, and never below that of KEPT."""
        waiting = math.log(KEPT + (1 - KEPT) / (self.rounds + 1))
        return torch.logaddexp(self.staked.logsumexp(-1), torch.tensor(waiting, dtype=torch.float64))


def certifies(log_wealth: float, alpha: float) -> bool:
    """Whether this wealth is a certificate at level alpha: at least 1/alpha."""
    return log_wealth >= -math.log(alpha)


def mean_wealth(logs: Sequence[float]) -> float:
    """Log of the mean of wealths given by their logs."""
    top = max(logs)
    return top + math.log(sum(math.exp(log - top) for log in logs) / len(logs))
