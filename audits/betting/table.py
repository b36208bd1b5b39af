"""One gambler at the table: it predicts a batch of random symbols, settles its bets, then learns from the batch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from audits.betting.bettor import Bettor
from audits.betting.leaders import Leaders
from audits.betting.stakes import Stakes
from audits.betting.wealth import SHARES, Wealth, log_factors

WINDOW = 10  # the last steps over which the rate of gain is averaged (our choice)
CLIP = 1.0  # largest norm of all gradients together (our choice)


@dataclass(frozen=True)
class Account:
    """How one gambler did.

    Attributes:
        alphabet: A, how many equally likely symbols there were.
        log_wealth: after each step, in nats; this gambler's own.
        bits_per_token: gain of its best share over the last steps, at least 0; descriptive, not certified.
        position: whose outputs gained most; None without gain.
        position_bits: what they gained, in bits.
        lost_steps: steps that taught nothing because predictions or gradients were not finite.
    """

    alphabet: int
    log_wealth: tuple[float, ...]
    bits_per_token: float
    position: int | None
    position_bits: float
    lost_steps: int


class Table:
    """The gambler, its money and its memory. `step` trains the gambler in place."""

    def __init__(self, gambler: Bettor, stakes: Stakes) -> None:
        self.gambler, self.stakes = gambler.train(stakes.training_mode), stakes
        self.parameters = [p for p in gambler.parameters() if p.requires_grad]
        count = sum(p.numel() for p in self.parameters)
        self.optimizer = torch.optim.Adam(self.parameters, lr=stakes.lr or usual_lr(count), betas=(0.9, 0.95))
        self.shares = torch.tensor(SHARES, dtype=torch.float64)
        self.wealth, self.leaders = Wealth.start(gamblers=len(SHARES) + 1), Leaders()
        self.trace: list[float] = []
        self.recent: list[Tensor] = []  # mean log factors by position and share, [N - h, L]
        self.lost = self.lost_in_a_row = 0

    def step(self, symbols: Tensor) -> None:
        """Play a batch int64 [B, N]: predict, settle, learn; in this order, or wealth would be no martingale."""
        h = self.stakes.ahead
        symbols = symbols.to(self.gambler.alphabet.device)
        log_p = self.gambler(symbols)[:, :-h].gather(-1, symbols[:, h:, None]).squeeze(-1)
        self._settle(log_factors(log_p.detach().cpu(), len(self.gambler.alphabet), self.shares))
        self._learn(-log_p.mean())

    def _settle(self, gains: Tensor) -> None:
        """Multiply the wealth by the factors of all bets, whose logs are [B, N - h, L]."""
        self.wealth = self.wealth.after(torch.cat([gains.sum((0, 1)), self.leaders.gain(gains)[None]]))
        self.leaders = self.leaders.after(gains)
        self.trace.append(float(self.wealth.log))
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
        self.lost += not finite
        self.lost_in_a_row = 0 if finite else self.lost_in_a_row + 1

    def account(self) -> Account:
        """What is to be told, after at least one step."""
        gains = torch.stack(self.recent).mean(0) / math.log(2)
        best = int(gains.mean(0).argmax())
        rate, position = max(0.0, float(gains[:, best].mean())), int(gains[:, best].argmax())
        return Account(
            alphabet=len(self.gambler.alphabet),
            log_wealth=tuple(self.trace),
            bits_per_token=rate,
            position=position if rate > 0 else None,
            position_bits=float(gains[position, best]) if rate > 0 else 0.0,
            lost_steps=self.lost,
        )


def usual_lr(parameters: int) -> float:
    """Adam's learning rate for a model of this many trained parameters: 1e-2 up to 10^4, then falling as their root.

    Our choice: the planted leaks are learnt fastest around 1e-2; large models diverge there.
    """
    return 1e-2 * min(1.0, math.sqrt(1e4 / max(1, parameters)))
