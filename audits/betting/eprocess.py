"""An online predictor with its wealth: it predicts a batch of random symbols, settles its bets, then trains on it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from audits.betting.config import BetConfig
from audits.betting.predictor import OnlinePredictor
from audits.betting.wealth import FRACTIONS, Wealth, log_factors

WINDOW = 10  # the last steps over which the rate of gain is averaged (our choice)
DISCOUNT = 0.95  # weight of the mean over earlier batches against the latest batch (our choice)
CLIP = 1.0  # largest norm of all gradients together (our choice)


@dataclass(frozen=True)
class PredictorSummary:
    """What one predictor achieved."""

    alphabet: int  # A, how many equally likely symbols there were
    log_wealth: tuple[float, ...]  # after each step, in nats; this predictor's own
    bits_per_token: float  # gain of its best fraction over the last steps, at least 0; descriptive, not certified
    position: int | None  # whose outputs gained most; None without gain
    position_bits: float  # what they gained
    lost_steps: int  # without an update because predictions or gradients were not finite


@dataclass(frozen=True)
class FollowTheLeader:
    """A strategy that chooses the fraction to bet for each position of the sequence by the gains there so far.

    Many leaks affect few positions, the start of a chunk for instance, while training noise costs wealth everywhere. A
    choice made from past batches alone is fixed before the next symbols are drawn: its product is a martingale too.
    """

    mean_gain: Tensor | None = None  # discounted mean log factors [P, L] in nats; None before any batch

    def log_gain(self, gains: Tensor) -> Tensor:
        """The log gain of a batch with log factors [B, P, L] under the fractions that led before it; a scalar, in nats.

        At a position where no fraction has gained so far nothing is bet.
        """
        if self.mean_gain is None:
            return torch.zeros((), dtype=torch.float64)
        best = self.mean_gain.max(-1)
        chosen = gains.sum(0).gather(-1, best.indices[:, None])[:, 0]
        return chosen.where(best.values > 0, 0.0).sum()

    def after(self, gains: Tensor) -> FollowTheLeader:
        """The strategy once the batch with log factors [B, P, L] has been settled."""
        latest = gains.mean(0)
        return FollowTheLeader(
            latest if self.mean_gain is None else DISCOUNT * self.mean_gain + (1 - DISCOUNT) * latest
        )


class EProcess:
    """The predictor, its optimiser and its wealth. `step` trains the predictor in place.

    `log_wealth` is that after each step, in nats; `skipped` counts steps without an update, as predictions or gradients
    were not finite, and `skipped_in_a_row` those among the latest.
    """

    def __init__(self, predictor: OnlinePredictor, config: BetConfig) -> None:
        self.predictor, self.config = predictor.train(config.training_mode), config
        self.parameters = [p for p in predictor.parameters() if p.requires_grad]
        count = sum(p.numel() for p in self.parameters)
        self.optimizer = torch.optim.Adam(self.parameters, lr=config.lr or default_lr(count), betas=(0.9, 0.95))
        self.fractions = torch.tensor(FRACTIONS, dtype=torch.float64)
        self.wealth, self.leader = Wealth.start(strategies=len(FRACTIONS) + 1), FollowTheLeader()
        self.log_wealth: list[float] = []
        self.recent: list[Tensor] = []  # mean log factors by position and fraction, [N - h, L]
        self.skipped = self.skipped_in_a_row = 0

    def step(self, symbols: Tensor) -> None:
        """Process a batch int64 [B, N]: predict, settle, learn; in another order, wealth would be no martingale."""
        h = self.config.ahead
        symbols = symbols.to(self.predictor.alphabet.device)
        log_p = self.predictor(symbols)[:, :-h].gather(-1, symbols[:, h:, None]).squeeze(-1)
        self._settle(log_factors(log_p.detach().cpu(), len(self.predictor.alphabet), self.fractions))
        self._learn(-log_p.mean())

    def _settle(self, gains: Tensor) -> None:
        """Multiply the wealth by the factors of all bets, whose logs are [B, N - h, L]."""
        self.wealth = self.wealth.after(torch.cat([gains.sum((0, 1)), self.leader.log_gain(gains)[None]]))
        self.leader = self.leader.after(gains)
        self.log_wealth.append(float(self.wealth.log))
        self.recent = [*self.recent[1 - WINDOW :], gains.mean(0)]

    def _learn(self, loss: Tensor) -> None:
        """One update; none where loss or gradient are not finite."""
        self.optimizer.zero_grad(set_to_none=True)
        finite = bool(loss.isfinite())
        if finite:
            loss.backward()
            finite = bool(nn.utils.clip_grad_norm_(self.parameters, CLIP).isfinite())
        if finite:
            self.optimizer.step()
        self.skipped += not finite
        self.skipped_in_a_row = 0 if finite else self.skipped_in_a_row + 1

    def summary(self) -> PredictorSummary:
        """What is reported of this predictor, after at least one step."""
        gains = torch.stack(self.recent).mean(0) / math.log(2)
        best = int(gains.mean(0).argmax())
        rate, position = max(0.0, float(gains[:, best].mean())), int(gains[:, best].argmax())
        return PredictorSummary(
            alphabet=len(self.predictor.alphabet),
            log_wealth=tuple(self.log_wealth),
            bits_per_token=rate,
            position=position if rate > 0 else None,
            position_bits=float(gains[position, best]) if rate > 0 else 0.0,
            lost_steps=self.skipped,
        )


def default_lr(parameters: int) -> float:
    """Adam's learning rate for a model of this many trained parameters: 1e-2 up to 10^4, then falling as their root.

    Our choice: the planted leaks are learnt fastest around 1e-2; large models diverge there.
    """
    return 1e-2 * min(1.0, math.sqrt(1e4 / max(1, parameters)))
