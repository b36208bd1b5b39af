"""Two arms of runs compared: effect, both p values, what this many seeds can detect, and how many are needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from audits.statistics.levels import POWER
from audits.statistics.paired import paired
from audits.statistics.permutation import sign_flip, two_sample
from audits.statistics.power import Rule, minimum_detectable_effect, paired_rule, seeds_needed, welch_rule
from audits.statistics.summary import Interval, summarise
from audits.statistics.welch import welch


@dataclass(frozen=True)
class Comparison:
    """Treated minus control, in the units of the values.

    `p` is that of the t test; `permutation_p` cannot fall below `smallest_permutation_p`, whatever the data. `mde` is
    the true difference detected with 80 % power and `seeds_needed` the runs (pairs, or an arm) that detect a true
    difference as large as the observed one; both take the estimated SD for the true one. `seeds_needed` is None where
    the difference is 0, or too small for 10 000 runs. `n` is the number of pairs, or of runs of the smaller arm.
    """

    difference: float
    interval: Interval  # two-sided, at level 1 - alpha
    p: float
    permutation_p: float
    smallest_permutation_p: float
    mde: float
    seeds_needed: int | None
    n: int
    alpha: float

    @property
    def significant(self) -> bool:
        """Whether the t test rejects at `alpha`."""
        return self.p <= self.alpha


@dataclass(frozen=True)
class PairedComparison(Comparison):
    """A comparison of `n` pairs, each of one seed; `sd` is that of the per-seed differences."""

    sd: float


@dataclass(frozen=True)
class UnpairedComparison(Comparison):
    """A comparison of independent arms of `n_treated` and `n_control` runs, with the arms' SDs."""

    n_treated: int
    n_control: int
    sd_treated: float
    sd_control: float


def compare_paired(treated: Sequence[float], control: Sequence[float], alpha: float = 0.05) -> PairedComparison:
    """Paired t and sign-flip test of `treated` [n] against `control` [n], entry i of both from seed i.

    Raises:
        ValueError: fewer than 2 pairs, unequal lengths, a value that is not finite, differences that are all equal
            (their SD is 0), or alpha outside (0, 1).
    """
    _check(alpha)
    test = paired(treated, control, 1 - alpha)
    exact = sign_flip([x - y for x, y in zip(treated, control, strict=True)])
    n = test.df + 1
    mde = minimum_detectable_effect(paired_rule(test.sd, n, alpha), POWER)
    needed = _seeds(lambda runs: paired_rule(test.sd, runs, alpha), test.difference)
    found = (test.difference, test.interval, test.p, exact.p, exact.smallest_p, mde, needed, n, alpha)
    return PairedComparison(*found, test.sd)


def compare_unpaired(treated: Sequence[float], control: Sequence[float], alpha: float = 0.05) -> UnpairedComparison:
    """Welch's and the permutation test of `treated` [n] against `control` [m], independent runs.

    Raises:
        ValueError: an arm of fewer than 2 runs, a value that is not finite, no spread in either arm, or alpha outside
            (0, 1).
    """
    _check(alpha)
    a, b = summarise(treated), summarise(control)
    test, exact = welch(a, b, 1 - alpha), two_sample(treated, control)
    mde = minimum_detectable_effect(welch_rule(a.sd, b.sd, a.n, alpha, b.n), POWER)
    needed = _seeds(lambda runs: welch_rule(a.sd, b.sd, runs, alpha), test.difference)
    found = (test.difference, test.interval, test.p, exact.p, exact.smallest_p, mde, needed, min(a.n, b.n), alpha)
    return UnpairedComparison(*found, a.n, b.n, a.sd, b.sd)


def _seeds(rule_at: Callable[[int], Rule], effect: float) -> int | None:
    return None if effect == 0 else seeds_needed(rule_at, effect, POWER)


def _check(alpha: float) -> None:
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie between 0 and 1, got {alpha}")
