"""A sequential test by betting: a certificate of a leak that a causal model gets with probability at most alpha."""

from audits.betting.config import BetConfig
from audits.betting.result import BetResult, BetVerdict, explain
from audits.betting.run import bet

Stakes = BetConfig  # the name it had before

__all__ = ["BetConfig", "BetResult", "BetVerdict", "Stakes", "bet", "explain"]
