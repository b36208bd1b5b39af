"""What leaks do to perplexity, read from the pairs of `leak-price`: one test a leak, corrected for all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from audits.evidence.ledger import Evidence, Record
from audits.experiments.language_models.leak_price import NAME
from audits.statistics.levels import ALPHA
from audits.statistics.multiplicity import holm
from audits.statistics.summary import Interval
from audits.statistics.t_test import equivalence_p, paired

MARGIN = 0.01  # nats a token, about 1 % of perplexity: less is called nothing (our choice, fixed beforehand)
ROUNDING = 1e-12  # nats; two sums of the same losses differ by less
SEEDS = 3  # the pre-registered number of paired seeds a leak, at least


class Price(StrEnum):
    """What a leak does to held-out perplexity under its own rule, after correction for all leaks."""

    LOWERS = "lower perplexity"
    NOTHING = "nothing"
    RAISES = "higher perplexity"
    OPEN = "open"
    UNCONFIRMED = "not confirmed"  # no probe killed it: no evidence about leaks


@dataclass(frozen=True)
class Pairs:
    """The runs of one leak: losses in nats a symbol of both sides, entry i of all of them from the same seed.

    `exchanged` is the leaky side's weights in the clean model, None where these do not fit. Seeds with a side that
    diverged are in `failed` alone.
    """

    leak: str
    leak_class: str
    seeds: tuple[int, ...]
    leaky: tuple[float, ...]
    clean: tuple[float, ...]
    exchanged: tuple[float | None, ...]
    failed: int
    killers: int  # probes of the kill matrix that see it
    runs: tuple[str, ...]

    @property
    def percent(self) -> tuple[float, ...]:
        """How much lower perplexity is with the leak, in percent of clean training, one a seed."""
        return tuple(100 * (1 - math.exp(a - b)) for a, b in zip(self.leaky, self.clean, strict=True))

    @property
    def signature(self) -> float | None:
        """Nats that the leaky weights lose under the clean rule, against clean training; None where they do not fit."""
        lost = [a - b for a, b in zip(self.exchanged, self.clean, strict=True) if a is not None]
        return sum(lost) / len(lost) if lost and len(lost) == len(self.clean) else None


@dataclass(frozen=True)
class Tested:
    """Clean minus leaky nats: mean, interval, SD over `n` seeds, p of any difference and of one within the margin."""

    gain: float
    interval: Interval
    sd: float
    n: int
    differs: float
    nothing: float


@dataclass(frozen=True)
class Priced:
    """One leak judged; without a test where it has too few pairs. The p values are Holm's over all leaks."""

    pairs: Pairs
    test: Tested | None
    price: Price
    differs: float = 1.0
    nothing: float = 1.0


def pairs_of(evidence: Evidence, wanted: set[str]) -> tuple[Pairs, ...]:
    """The runs of every wanted leak in the setting of the last run, by name."""
    by_leak: dict[str, list[Record]] = {}
    for record in evidence.latest(NAME, "twin"):
        by_leak.setdefault(str(record.config["twin"]), []).append(record)
    killers = _killers(evidence)
    return tuple(_pairs(leak, by_leak[leak], killers.get(leak, 0)) for leak in sorted(wanted & set(by_leak)))


def price(found: Sequence[Pairs]) -> tuple[Priced, ...]:
    """Every leak judged, the greatest gain first.

    Two questions a leak (any difference? one within the margin?) make one family for Holm's correction. Leaks that no
    probe has killed, or with too few pairs, are not asked.
    """
    tests = [test_of(pairs) if pairs.killers else None for pairs in found]
    asked = [test for test in tests if test is not None]
    judged = _corrected(asked)
    priced = [_priced(pairs, test, judged) for pairs, test in zip(found, tests, strict=True)]
    return tuple(sorted(priced, key=lambda item: (item.test is None, -item.test.gain if item.test else 0.0)))


def test_of(pairs: Pairs) -> Tested | None:
    """The test of one leak; None with too few pairs, or with differences that are all equal but not 0."""
    n = len(pairs.seeds)
    if n < SEEDS:
        return None
    gaps = [a - b for a, b in zip(pairs.clean, pairs.leaky, strict=True)]
    if max(map(abs, gaps)) <= ROUNDING:  # the same computation: nothing is left to chance
        return Tested(0.0, Interval(0.0, 0.0), 0.0, n, 1.0, 0.0)
    try:
        test = paired(pairs.clean, pairs.leaky)
        nothing = equivalence_p(pairs.clean, pairs.leaky, MARGIN)
    except ValueError:
        return None
    return Tested(test.difference, test.interval, test.standard_error * math.sqrt(n), n, test.p, nothing)


def _corrected(tests: Sequence[Tested]) -> dict[int, tuple[float, float]]:
    """Holm-adjusted p values (differs, nothing) by the identity of the test."""
    if not tests:
        return {}
    family = [test.adjusted for test in holm([*(t.differs for t in tests), *(t.nothing for t in tests)])]
    pairs = zip(family[: len(tests)], family[len(tests) :], strict=True)
    return {id(test): pair for test, pair in zip(tests, pairs, strict=True)}


def _priced(pairs: Pairs, test: Tested | None, judged: dict[int, tuple[float, float]]) -> Priced:
    if not pairs.killers:
        return Priced(pairs, None, Price.UNCONFIRMED)
    if test is None:
        return Priced(pairs, None, Price.OPEN)
    differs, nothing = judged[id(test)]
    if nothing <= ALPHA:  # before "differs": a difference can be real and still be nothing
        return Priced(pairs, test, Price.NOTHING, differs, nothing)
    sign = Price.LOWERS if test.gain > 0 else Price.RAISES
    return Priced(pairs, test, sign if differs <= ALPHA else Price.OPEN, differs, nothing)


def _killers(evidence: Evidence) -> dict[str, int]:
    """How many probes of the kill matrix see each leak."""
    return {
        str(record.config["twin"]): sum(verdict == "LEAK" for verdict in record.result["leaky"].values())
        for record in evidence.of("kill-matrix")
    }


def _pairs(leak: str, records: list[Record], killers: int) -> Pairs:
    records = sorted(records, key=lambda record: record.seed)
    good = [r for r in records if not (r.result["leaky"]["diverged"] or r.result["clean"]["diverged"])]
    return Pairs(
        leak,
        str(records[0].result["leak_class"]),
        tuple(r.seed for r in good),
        tuple(float(r.result["leaky"]["valid_nats"]) for r in good),
        tuple(float(r.result["clean"]["valid_nats"]) for r in good),
        tuple(r.result["leaky_under_clean_nats"] for r in good),
        len(records) - len(good),
        killers,
        tuple(r.run for r in records),
    )
