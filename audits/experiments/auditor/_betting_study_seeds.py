"""In how many tests, each with its own tokens, betting proves a planted leak: the power table of `docs/betting.md`."""

from __future__ import annotations

from dataclasses import replace

from audits.betting.config import BetConfig
from audits.betting.run import bet
from audits.leaks._planted import PlantedLeak
from audits.statistics.counts import Counts, rate_interval
from audits.subject.settings import Settings

HEADER = ("planted leak", "class", "proven in", "95 % interval of the rate", "steps to the proof: median, range")


def proofs(leak: PlantedLeak, settings: Settings, config: BetConfig, seeds: int) -> list[int | None]:
    """The step of the proof in each test, None where there was none.

    A seed draws the alphabets and the tokens; the weights of a planted leak are the same in every test.
    """
    results = (bet(leak.leaky(), replace(settings, seed=seed), config) for seed in range(seeds))
    return [result.proven_at for result in results]


def power_row(leak: PlantedLeak, settings: Settings, config: BetConfig, seeds: int) -> list[str]:
    """One planted leak: how often it is proven, the Clopper-Pearson interval, and how fast."""
    found = proofs(leak, settings, config, seeds)
    steps = sorted(step for step in found if step is not None)
    rate = rate_interval(Counts(len(steps), seeds))
    speed = f"{steps[len(steps) // 2]}, {steps[0]} to {steps[-1]}" if steps else "-"
    interval = f"{rate.low:.2f} to {rate.high:.2f}"
    return [leak.name, str(leak.leak_class), f"{len(steps)} of {seeds}", interval, speed]
