"""Our own claim about the significance tests used here: simulated, they keep their error level at the seeds in use."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from audits.claims.claim import Claim, ClaimVerdict, Judgement, Kind, no_run_yet
from audits.claims.figures import CurvePoint, Curves, Series
from audits.evidence.ledger import Evidence
from audits.experiments.calibration.calibration import NAME, all_cases
from audits.formatting import Table, percent
from audits.statistics.counts import Counts, rate_interval
from audits.statistics.levels import ALPHA
from audits.statistics.summary import Interval

LEVEL = 0.999  # of each interval, so that some sixty together seldom miss
REFUTING = 1.2 * ALPHA  # Cochran's rule (1954): an approximate test may be off by a fifth of its level
SUFFICIENT = 1.5 * ALPHA  # Bradley's liberal criterion (1978): the most that an interval may leave open
SHOWN = {"paired t": "causal", "Welch's t": "masked", "Holm": "other"}
MORE = "More draws."
TRAPS_SHOWN = ("bootstrap interval",)


@dataclass(frozen=True)
class Row:
    """One procedure in one setting: rejections of a true null, and of a false one."""

    procedure: str
    n: int
    setting: str
    trap: str
    effect: str
    alarms: Counts
    found: Counts | None

    @property
    def interval(self) -> Interval:
        """Of the false-positive rate."""
        return rate_interval(self.alarms, LEVEL)

    @property
    def name(self) -> str:
        """The row in words."""
        return f"{self.procedure}, n = {self.n}, {self.setting}: {_rate(self.alarms)}"


def judge(evidence: Evidence) -> Judgement:
    """Judge the rows that verdicts rest on; the traps are shown for comparison."""
    records = evidence.of(NAME)
    rows = tuple(_row(str(r.config["procedure"]), row) for r in records for row in r.result["rows"])
    if {row.procedure for row in rows} != {case.procedure for case in all_cases()}:
        return no_run_yet("the calibration of every test")
    return judge_rows(rows, tuple(record.run for record in records))


def judge_rows(rows: tuple[Row, ...], runs: tuple[str, ...]) -> Judgement:
    """A level that is exceeded by more than Cochran allows refutes; one that is not pinned down leaves it open."""
    used = tuple(row for row in rows if not row.trap)
    broken = [row.name for row in used if row.interval.low > REFUTING]
    unsure = [row for row in used if row.interval.high > SUFFICIENT]
    change = f"A test in use that rejects a true null in more than {REFUTING:.0%} of simulations."
    held = Judgement(
        ClaimVerdict.SUPPORTED,
        f"In {len(used)} simulated settings every test in use rejects a true null less often than {SUFFICIENT:.1%}.",
        change,
        ours=f"at most {max(row.interval.high for row in used):.1%} rejected",
        evidence=runs,
        tables=_tables(rows),
        figures=_figures(rows),
        details=_details(used),
    )
    if broken:
        reason = f"In {len(broken)} of {len(used)} settings a test in use is known to exceed {REFUTING:.0%}."
        details = f"Above the level: {'; '.join(broken)}. {held.details}"
        return replace(held, verdict=ClaimVerdict.REFUTED, reason=reason, details=details)
    if unsure:
        reason = f"{len(unsure)} of {len(used)} rates are not known to lie below {SUFFICIENT:.1%}."
        effect = _detectable(unsure)
        return replace(
            held, verdict=ClaimVerdict.INCONCLUSIVE, reason=reason, minimum_detectable_effect=effect, would_change=MORE
        )
    return held


def _detectable(unsure: list[Row]) -> str:
    fewest = min(row.alarms.trials for row in unsure)
    return f"an excess of {rate_interval(Counts(round(ALPHA * fewest), fewest), LEVEL).high - ALPHA:.1%}"


def _details(used: tuple[Row, ...]) -> str:
    above = [row.name for row in used if row.interval.low > ALPHA]
    worst = max(used, key=lambda row: row.alarms.successes / row.alarms.trials)
    most = max(row.interval.high for row in used)
    liberal = f" Detectably above {ALPHA:.0%}, by less than a fifth of it: {'; '.join(above)}." if above else ""
    return (
        f"In {len(used)} settings the tests in use reject a true null in at most {most:.1%} of simulations "
        f"({LEVEL:.1%} intervals; level {ALPHA:.0%}; the largest is {worst.name}).{liberal}"
    )


def _row(procedure: str, row: dict[str, Any]) -> Row:
    found = Counts(row["found"], row["found_draws"]) if "found" in row else None
    alarms = Counts(row["rejected"], row["draws"])
    return Row(procedure, row["n"], row["setting"], row["trap"], row["effect"], alarms, found)


def _tables(rows: tuple[Row, ...]) -> tuple[Table, ...]:
    used = tuple((*_cells(row), *_power(row)) for row in rows if not row.trap)
    traps = tuple((*_cells(row), row.trap) for row in rows if row.trap)
    header = ("procedure", "n", "setting", "alpha", "false positives", f"{LEVEL:.1%} interval")
    return (
        Table("Tests in use: error level and power, simulated", (*header, "power", "at the effect"), used),
        Table("Not used, and why", (*header, "why not"), traps),
    )


def _cells(row: Row) -> tuple[str, ...]:
    interval = f"{row.interval.low:.1%} to {row.interval.high:.1%}"
    return (row.procedure, str(row.n), row.setting, f"{ALPHA}", _rate(row.alarms), interval)


def _power(row: Row) -> tuple[str, str]:
    return ("", "") if row.found is None else (percent(row.found.successes / row.found.trials), row.effect)


def _rate(counts: Counts) -> str:
    return f"{counts.successes / counts.trials:.1%}"


def _figures(rows: tuple[Row, ...]) -> tuple[Curves, ...]:
    """Error level and power over the number of seeds; the first setting of each procedure, which is normal noise."""
    alarms = [_series(rows, name, style) for name, style in SHOWN.items()]
    alarms += [_series(rows, name, "leaky", f"{name} (not used)") for name in TRAPS_SHOWN]
    sizes = sorted({point.x for series in alarms for point in series.points})
    level = Series(f"level, {ALPHA:.0%}", "control", tuple(CurvePoint(n, ALPHA) for n in sizes))
    power = [_powers(rows, name, style) for name, style in (*SHOWN.items(), ("sign flips", "leaky"))]
    return (
        Curves("How often a true null is rejected", "seeds", "false-positive rate", (*alarms, level), log_x=True),
        Curves(
            "How often an effect is found",
            "seeds",
            "power",
            tuple(power),
            "An effect of 2 SD; for Holm 4 SD in one of 20 tests. Sign flips cannot reject at 5 seeds or fewer.",
            log_x=True,
        ),
    )


def _normal(rows: tuple[Row, ...], procedure: str) -> tuple[Row, ...]:
    """The first setting of the procedure, by n."""
    of_it = [row for row in rows if row.procedure == procedure]
    first = [row for row in of_it if row.setting == of_it[0].setting]
    return tuple(sorted(first, key=lambda row: row.n))


def _series(rows: tuple[Row, ...], procedure: str, style: str, label: str = "") -> Series:
    points = (
        CurvePoint(row.n, row.alarms.successes / row.alarms.trials, row.interval.low, row.interval.high)
        for row in _normal(rows, procedure)
    )
    return Series(label or procedure, style, tuple(points))


def _powers(rows: tuple[Row, ...], procedure: str, style: str) -> Series:
    found = ((row.n, row.found) for row in _normal(rows, procedure) if row.found is not None)
    return Series(procedure, style, tuple(_point(n, counts) for n, counts in found))


def _point(n: int, counts: Counts) -> CurvePoint:
    interval = rate_interval(counts, LEVEL)
    return CurvePoint(n, counts.successes / counts.trials, interval.low, interval.high, str(counts))


CLAIM = Claim(
    id="statistics-power",
    statement="The significance tests in use hold their error level at our numbers of seeds.",
    source="our own claim about this tool",
    kind=Kind.SELF_TEST,
    test=f"Each test on simulated data without an effect, as often as the tier allows; {LEVEL:.1%} Clopper-Pearson "
    f"intervals. SUPPORTED if every rate of false positives is known to lie below {SUFFICIENT:.1%} (Bradley's liberal "
    f"criterion for a level of {ALPHA:.0%}) and none is known to lie above {REFUTING:.0%} (Cochran's rule).",
    refuted_by=f"A test in use whose interval lies wholly above {REFUTING:.0%}.",
    judge=judge,
    needs=(NAME,),
)
