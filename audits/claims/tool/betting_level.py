"""Our own claim about betting: what is causal is certified no more often than the level allows; and what it proves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from audits.claims.claim import Claim, ClaimVerdict, Judgement, Kind, no_run_yet
from audits.evidence.ledger import Evidence, Record
from audits.experiments.auditor.betting_study import BETS, LEVELS, MODEL_STEPS, NAME, ROUNDS, STEPS
from audits.formatting import MISSING, Table, number
from audits.statistics.counts import Counts, rate_interval
from audits.statistics.summary import Interval

CONFIDENCE = 0.999  # of each interval, so that some forty together seldom miss
CONTROL_LEVEL = 0.001  # at which planted leaks and their controls are tested
COINS, MODELS, CONTROLS = "coins", "models", "clean controls"


@dataclass(frozen=True)
class Rate:
    """How often one kind of causal predictor was certified at a level."""

    kind: str
    level: float
    counts: Counts

    @property
    def interval(self) -> Interval:
        """Of the rate."""
        return rate_interval(self.counts, CONFIDENCE)


def judge(evidence: Evidence) -> Judgement:
    """A rate known to lie above its level refutes; coins, of which there can be many, must be known to lie below."""
    records = evidence.of(NAME)
    found = rates(records)
    if not {COINS, MODELS} <= {rate.kind.split(",")[0] for rate in found}:
        return no_run_yet(NAME)
    above = [rate for rate in found if rate.interval.low > rate.level]
    unsure = [rate for rate in found if rate.kind.startswith(COINS) and rate.interval.high > rate.level]
    tested = sum(rate.counts.trials for rate in {rate.kind: rate for rate in found}.values())
    tables = (_level_table(found), *_leak_tables(records))
    verdict, reason = ClaimVerdict.SUPPORTED, "No level is exceeded more often than it allows by any causal predictor."
    effect = None
    if above:
        verdict, reason = ClaimVerdict.REFUTED, "Some causal predictors are certified more often than the level allows."
    elif unsure:
        verdict, reason = ClaimVerdict.INCONCLUSIVE, "No level is known to be exceeded, but there are too few tests."
        effect = f"a rate of {max(rate.interval.high for rate in unsure):.2g}"
    return Judgement(
        verdict,
        reason,
        "A causal predictor that is certified more often than the level.",
        minimum_detectable_effect=effect,
        ours=f"{len(above)} of {len(found)} rates above their level",
        evidence=tuple(record.run for record in records),
        tables=tables,
        details=f"{tested} tests of causal predictors; {CONFIDENCE:.1%} Clopper-Pearson intervals. Above the level: "
        f"{', '.join(f'{r.kind} at {r.level:g}, {r.counts}' for r in above) or 'none'}. A test on coins has {ROUNDS} "
        f"steps of {BETS} bets, one of a small model {MODEL_STEPS} steps, one of a planted leak at most {STEPS}.",
    )


def rates(records: Iterable[Record]) -> tuple[Rate, ...]:
    """Every kind of causal predictor at every level that its tests looked at."""
    tests, exceeded, controls = Counter[str](), Counter[tuple[str, float]](), Counter[bool]()
    for record in records:
        if (clean := record.result.get("clean")) is not None:
            controls[clean["proven_at"] is not None] += 1
        if "exceeded" in record.result:
            deviation = record.config.get("deviation")
            kind = MODELS if deviation is None else f"{COINS}, log odds of SD {deviation:g}"
            tests[kind] += record.result["tests"]
            exceeded.update({(kind, level): record.result["exceeded"][f"{level:g}"] for level in LEVELS})
    found = [Rate(kind, level, Counts(exceeded[kind, level], tests[kind])) for kind in tests for level in LEVELS]
    if controls:
        found.append(Rate(CONTROLS, CONTROL_LEVEL, Counts(controls[True], controls.total())))
    return tuple(sorted(found, key=lambda rate: (rate.kind, -rate.level)))


def _level_table(found: Sequence[Rate]) -> Table:
    rows = (
        (rate.kind, f"{rate.level:g}", str(rate.counts), f"{rate.interval.low:.2g} to {rate.interval.high:.2g}")
        for rate in found
    )
    header = ("causal predictors", "level", "certified", f"{CONFIDENCE:.1%} interval of the rate")
    return Table("How often wealth reached 1 / level in tests of what is causal", header, tuple(rows))


def _leak_tables(records: Sequence[Record]) -> tuple[Table, ...]:
    """Every planted leak, and the adversarial variants."""
    tested: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        c = record.config
        if c["part"] == "leak":
            variant = [word for word, on in (("narrow council", c["narrow"]), ("frozen router", c["frozen"])) if on]
            tested.setdefault((str(c["leak"]), *variant), []).append(record)
    rows = tuple(_leak_row(", ".join(name), runs) for name, runs in sorted(tested.items()))
    header = ("planted leak", "class", "proven", "95 % interval", "steps: median, range", "bits a token", "control")
    note = "tests with tokens of their own; bits extracted at the end; the largest e-value of the clean control"
    return (Table(f"What betting proves ({note})", header, rows),) if rows else ()


def _leak_row(name: str, runs: Sequence[Record]) -> tuple[str, ...]:
    steps = sorted(r.result["proven_at"] for r in runs if r.result["proven_at"] is not None)
    counts = Counts(len(steps), len(runs))
    bounds = rate_interval(counts)
    bits = [r.result["bits_per_token"] for r in runs if "bits_per_token" in r.result]
    largest = [r.result["clean"]["largest"] for r in runs if "clean" in r.result]
    return (
        name,
        runs[0].result["leak_class"],
        str(counts),
        f"{bounds.low:.2f} to {bounds.high:.2f}",
        f"{median(steps):g}, {steps[0]} to {steps[-1]}" if steps else "none",
        f"{max(bits):.3f}" if bits else MISSING,
        number(max(largest), 2) if largest else MISSING,
    )


CLAIM = Claim(
    id="betting-level",
    statement="Betting certifies what is causal no more often than its level allows.",
    source="our own claim about this tool",
    kind=Kind.SELF_TEST,
    test=f"Simulated tests on fair coins, small causal models trained online, and the clean control of every planted "
    f"leak: how often the wealth ever reaches 1 / level; {CONFIDENCE:.1%} Clopper-Pearson intervals. SUPPORTED if on "
    "coins every rate is known to lie below its level and no other is known to lie above. What is proven of every "
    "planted leak is shown and decides nothing.",
    refuted_by="A rate whose interval lies wholly above its level.",
    judge=judge,
    needs=(NAME,),
)
