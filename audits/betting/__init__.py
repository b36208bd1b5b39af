"""Proof by betting: a certificate of a leak that a causal model gets with probability at most alpha."""

from audits.betting.game import bet
from audits.betting.result import BetResult, BetVerdict, explain
from audits.betting.stakes import Stakes

__all__ = ["BetResult", "BetVerdict", "Stakes", "bet", "explain"]
