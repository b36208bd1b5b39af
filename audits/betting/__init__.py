"""A sequential test by betting: a certificate of a leak that a causal model gets with probability at most alpha."""

from audits.betting.config import BetConfig
from audits.betting.result import BetResult, BetVerdict, explain
from audits.betting.run import bet as unguarded_bet
from audits.subject.untouched import guarded

Stakes = BetConfig  # the name it had before
bet = guarded(unguarded_bet)

__all__ = ["BetConfig", "BetResult", "BetVerdict", "Stakes", "bet", "explain"]
