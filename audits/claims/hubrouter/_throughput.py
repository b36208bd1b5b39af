"""Multipliers of training throughput, read from the runs of `throughput`: one a baseline tier, never one number.

What is published comes from how many kernels a loop starts on a GPU: runs on a CPU are shown and decide nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from scipy import stats

from audits.claims.claim import ClaimVerdict, Judgement
from audits.claims.figures import CurvePoint, Curves, Series
from audits.evidence.ledger import Evidence, Record
from audits.experiments.bench.throughput import NAME
from audits.formatting import Table
from audits.statistics.levels import ALPHA
from audits.statistics.summary import Interval

LENGTH = 1024  # of the published multipliers, in tokens
MULTIPLIER = 90.0  # published: "up to ~90x" against a PyTorch-native baseline
LOW, HIGH = 10.0, 15.0  # published: the estimate against an optimised baseline
TOLERANCE = 1e-3  # relative; tiers that differ by more compute different functions (our choice; float32 gives 1e-6)
WIDE = 2.0  # an interval whose ends differ by more than this factor decides nothing (our choice)
FASTEST = ("fused", "matmul")  # the optimised tier: the first of these that this machine could run
ROUNDS = 3  # timed steps of each subject, at least
OUTLIER = 3.0  # times its subject's median: a step that long stalled, and its round is left out (our choice) and named
COMMAND = "hubrouter-audit claims --tier paper --device cuda --only 'throughput-*'"


@dataclass(frozen=True)
class Timed:
    """One subject of a run: seconds of its steps, one a round, or why there are none."""

    subject: str
    scan: str | None
    seconds: tuple[float, ...]
    tokens: int
    not_run: str | None

    @property
    def label(self) -> str:
        """Its name, with the tier of its Mamba layers."""
        return self.subject if self.scan is None else f"{self.subject} ({self.scan})"

    @property
    def stalled(self) -> frozenset[int]:
        """The rounds whose step took more than `OUTLIER` times the median of all."""
        return frozenset(i for i, second in enumerate(self.seconds) if second > OUTLIER * median(self.seconds))


@dataclass(frozen=True)
class Multiplier:
    """How many times more tokens a second than the baseline: the median of the rounds' ratios, with its interval.

    The interval is between order statistics, without an assumption about the noise: 95 % or more, of 5 rounds 94 %, of
    fewer less. Rounds in which either side stalled are left out. It says how well this machine repeats itself, and
    nothing about other machines. `ratio` is None where one side was not run, `why` then says why. `tier` is the
    baseline's; `optimised` marks the fastest one measured.
    """

    model: str
    baseline: str
    tier: str
    n: int
    whole: bool  # whole models, or single layers
    ratio: float | None
    interval: Interval | None
    why: str | None
    optimised: bool

    @property
    def named(self) -> str:
        """Both sides in words."""
        return f"{self.model} against {self.baseline}"

    @property
    def wide(self) -> bool:
        """Whether the rounds scatter too much to decide."""
        return self.interval is not None and self.interval.high > WIDE * self.interval.low

    def __str__(self) -> str:
        if self.ratio is None or self.interval is None:
            return f"not run: {self.why}"
        return f"{self.ratio:.3g}x ({self.interval.low:.3g} to {self.interval.high:.3g})"


@dataclass(frozen=True)
class Measured:
    """All that one setting of `throughput` says."""

    multipliers: tuple[Multiplier, ...]
    timed: tuple[tuple[str, int, Timed], ...]  # what, n, subject
    disagreement: float
    machine: str
    on_gpu: bool
    changed: int  # runs made from a tree with changes
    runs: tuple[str, ...]

    def at(self, n: int) -> tuple[Multiplier, ...]:
        """The whole-model multipliers at one length."""
        return tuple(m for m in self.multipliers if m.whole and m.n == n)

    @property
    def void(self) -> str | None:
        """Why nothing may be concluded; None where something may."""
        if self.disagreement > TOLERANCE:
            return "The outputs of the baseline's tiers differ, so that they compute different functions."
        return "These runs were made from a tree with changes that nobody can repeat." if self.changed else None

    @property
    def conditions(self) -> str:
        """Where it was measured, and what was left out."""
        stalled = [f"{t.label} at n = {n}: {t.seconds[i]:.3g} s" for _, n, t in self.timed for i in sorted(t.stalled)]
        return (
            f"Measured on one machine at small scale: {self.machine}. Medians of the rounds' ratios; a round in which "
            f"a step took more than {OUTLIER:g} times its subject's median is left out: "
            f"{'; '.join(stalled) or 'none'}. "
            f"Runs made from a tree with changes (commit ending in +): {self.changed} of {len(self.runs)}. The tiers' "
            f"outputs differ by {self.disagreement:.2g} of their size."
        )


def measured(evidence: Evidence) -> Measured | None:
    """The runs of the last setting, of those on a GPU where there are any; None without any run."""
    records = _records(evidence)
    if not records:
        return None
    timed = tuple((str(r.config["what"]), int(r.config["n"]), row) for r in records for row in _rows(r))
    differences = [value for r in records for value in r.result["disagreement"].values() if value is not None]
    found = tuple(m for r in records for m in _multipliers(r))
    runs = tuple(sorted(record.run for record in records))
    changed = sum(record.commit.endswith("+") for record in records)
    return Measured(
        found, timed, max(differences, default=0.0), _machine(records[0]), _on_gpu(records[0]), changed, runs
    )


def _on_gpu(record: Record) -> bool:
    return str(record.config["device"]).startswith("cuda")


def _records(evidence: Evidence) -> tuple[Record, ...]:
    """The records that share the last one's setting, layers first, by length."""
    found = [record for record in evidence.records if record.experiment == NAME]
    found = [record for record in found if _on_gpu(record)] or found
    alike = [r for r in found if _setting(r) == _setting(found[-1])]
    return tuple(sorted(alike, key=lambda r: (r.config["what"], r.config["n"])))


def _setting(record: Record) -> dict[str, Any]:
    return {key: value for key, value in record.config.items() if key not in ("what", "n")}


def _machine(record: Record) -> str:
    """Where and at which size it was timed."""
    config, where = record.config, record.environment
    threads = record.result["threads"]
    device = str(where.get("cpu" if config["device"] == "cpu" else "device", config["device"]))
    many = "one thread" if threads == 1 else f"{threads} threads"
    return f"{device}, {many}, width {config['d_model']}, {config['layers']} layers, batch {config['batch']}"


def _rows(record: Record) -> tuple[Timed, ...]:
    return tuple(
        Timed(r["subject"], r["scan"], tuple(r.get("seconds", ())), int(r["tokens"]), r["not_run"])
        for r in record.result["rows"]
    )


def _multipliers(record: Record) -> Iterator[Multiplier]:
    """Every comparison that one run allows."""
    rows = {(row.subject, row.scan): row for row in _rows(record)}
    scans = [scan for name, scan in rows if name in ("mamba", "Jamba") and scan is not None]
    base = "Jamba" if record.config["what"] == "model" else "mamba"
    fastest = next((scan for scan in FASTEST if (base, scan) in rows and rows[base, scan].not_run is None), None)
    for model, baseline in _compared(record.config["what"], scans, fastest):
        yield _ratio(rows[model], rows[baseline], int(record.config["n"]), record.config["what"] == "model", fastest)


def _compared(
    what: str, scans: Sequence[str], fastest: str | None
) -> Iterator[tuple[tuple[str, str | None], tuple[str, str | None]]]:
    """Model and baseline: with the same Mamba layers, with the fastest ones in the model alone, without any."""
    if what == "layer":
        yield ("hub", None), ("attention", None)
        yield from ((("hub", None), ("mamba", scan)) for scan in scans)
        return
    yield ("Hub-GPT", None), ("Transformer", None)
    for scan in scans:
        yield ("Hub-Jamba", scan), ("Jamba", scan)
        yield ("Hub-GPT", None), ("Jamba", scan)
        if fastest not in (None, scan):
            yield ("Hub-Jamba", fastest), ("Jamba", scan)
    if fastest is not None:
        yield ("Hub-Jamba", fastest), ("Transformer", None)


def _ratio(model: Timed, baseline: Timed, n: int, whole: bool, fastest: str | None) -> Multiplier:
    tier = baseline.scan or "attention"
    optimised = baseline.scan == fastest and fastest is not None
    why = baseline.not_run or model.not_run
    left_out = model.stalled | baseline.stalled
    pairs = enumerate(zip(baseline.seconds, model.seconds, strict=False))
    ratios = sorted(slow / fast for i, (slow, fast) in pairs if i not in left_out)
    if why is None and len(ratios) < ROUNDS:
        why = f"fewer than {ROUNDS} rounds"
    named = (model.label, baseline.label, tier, n, whole)
    if why is not None:
        return Multiplier(*named, None, None, why, optimised)
    return Multiplier(*named, median(ratios), interval_of_median(ratios), None, optimised)


def interval_of_median(ordered: Sequence[float]) -> Interval:
    """Between the order statistics of the sign test at 95 %; the least and the largest where there are too few."""
    rank = max(1, int(stats.binom.ppf(ALPHA / 2, len(ordered), 0.5)))
    return Interval(ordered[rank - 1], ordered[-rank])


def not_on_a_gpu(found: Measured, tables: tuple[Table, ...], figures: tuple[Curves, ...] = ()) -> Judgement:
    """The judgement on runs of a CPU, which are shown and decide nothing."""
    return Judgement(
        ClaimVerdict.NOT_TESTABLE,
        "The multiplier comes from starting kernels on a GPU; our runs are a CPU's.",
        f"Runs on a GPU: `{COMMAND}`.",
        evidence=found.runs,
        tables=tables,
        figures=figures,
        details=f"{answer(found)} {found.conditions}",
        ours=on_cpu(found),
    )


def on_cpu(found: Measured) -> str:
    """The largest multiplier in a few words; empty where there is none."""
    most = largest(found)
    return "" if most is None else f"at most {most.ratio:.2f}x on a CPU"


def largest(found: Measured) -> Multiplier | None:
    """The largest multiplier of a whole model at the published length."""
    known = (m for m in found.at(LENGTH) if m.ratio is not None)
    return max(known, key=lambda m: m.ratio or 0.0, default=None)


def answer(found: Measured) -> str:
    """One multiplier for each tier, with the model's own Mamba layers in that tier, and the largest of all."""
    whole = [m for m in found.at(LENGTH) if m.ratio is not None]
    same = [f"{m.tier} {m.ratio:.2f}x" for m in whole if m.model == f"Hub-Jamba ({m.tier})"]
    most = largest(found)
    all_of_them = "" if most is None else f" The largest of all is {most.named}, {most}."
    return f"At n = {LENGTH} with the same Mamba layers on both sides: {', '.join(same) or 'not run'}.{all_of_them}"


def tables(found: Measured) -> tuple[Table, ...]:
    """Multipliers, what Amdahl's law leaves for the layer, and every subject's throughput."""
    lengths = sorted({m.n for m in found.multipliers})
    return (
        _by_length(found, lengths, whole=True),
        _by_length(found, lengths, whole=False),
        bounds(found),
        _speeds(found),
    )


def _by_length(found: Measured, lengths: Sequence[int], *, whole: bool) -> Table:
    chosen = [m for m in found.multipliers if m.whole == whole]
    names = dict.fromkeys(m.named for m in chosen)
    cells = {(m.named, m.n): str(m) for m in chosen}
    rows = tuple((name, *(cells.get((name, n), "not asked for") for n in lengths)) for name in names)
    title = f"{'Whole models' if whole else 'Single layers'}: multiplier of training throughput, median (interval)"
    return Table(f"{title}; {found.machine}", ("compared", *(f"n = {n}" for n in lengths)), rows)


def bounds(found: Measured) -> Table:
    """Amdahl's law: what a Hub-Jamba could gain over Jamba if its routing cost nothing at all, by tier and length."""
    middle = {(what, n, t.subject, t.scan): median(t.seconds) for what, n, t in found.timed if t.seconds}
    rows = []
    for (what, n, subject, scan), whole in middle.items():
        attention = middle.get(("layer", n, "attention", None))
        if subject == "Jamba" and what == "model" and attention is not None:
            left = whole - attention
            most = f"{whole / left:.3g}x" if left > 0 else "unbounded"
            rows.append((str(scan), str(n), f"{1000 * whole:.1f}", f"{100 * attention / whole:.1f} %", most))
    header = ("tier of the Mamba layers", "n", "Jamba's step, ms", "share of its attention layer", "most it can gain")
    return Table("Amdahl's law: if the replaced attention layer took no time at all", header, tuple(rows))


def _speeds(found: Measured) -> Table:
    rows = tuple((what, t.label, str(n), *_speed(t)) for what, n, t in found.timed)
    header = ("", "subject", "n", "tokens a second, median", "lowest to highest")
    return Table(f"Training throughput; {found.machine}", header, rows)


def _speed(timed: Timed) -> tuple[str, str]:
    if not timed.seconds:
        return f"not run: {timed.not_run}", "-"
    low, high = (timed.tokens / second for second in (max(timed.seconds), min(timed.seconds)))
    return f"{timed.tokens / median(timed.seconds):,.0f}", f"{low:,.0f} to {high:,.0f}"


def figures(found: Measured, published: Sequence[Series] = ()) -> tuple[Curves, ...]:
    """Multipliers over the length, a curve a baseline tier: single layers, Hub-Jamba matched, Hub-GPT."""
    matched = [m for m in found.multipliers if m.whole and m.model == f"Hub-Jamba ({m.tier})"]
    pure = [m for m in found.multipliers if m.whole and m.model == "Hub-GPT"]
    layers = [m for m in found.multipliers if not m.whole]
    titles = (
        ("One hub layer against one baseline layer", layers),
        ("Hub-Jamba against Jamba with the same Mamba layers", matched),
        ("Hub-GPT against Jamba, and against the Transformer", pure),
    )
    return tuple(_curves(title, chosen, found.machine, published) for title, chosen in titles)


def _curves(title: str, chosen: Sequence[Multiplier], machine: str, published: Sequence[Series]) -> Curves:
    tiers = dict.fromkeys(m.tier for m in chosen if m.ratio is not None)
    series = tuple(_series(tier, [m for m in chosen if m.tier == tier]) for tier in tiers)
    missing = sorted({f"{m.baseline} at n = {m.n} ({m.why})" for m in chosen if m.ratio is None})
    note = f"{machine}. Above 1 the hub side is faster." + (f" Not run: {'; '.join(missing)}." if missing else "")
    y = "times the baseline's tokens a second"
    return Curves(title, "tokens in a sequence", y, (*series, *published), note, log_x=True, log_y=True)


def _series(tier: str, chosen: Sequence[Multiplier]) -> Series:
    points = tuple(
        CurvePoint(float(m.n), m.ratio, m.interval.low, m.interval.high)
        for m in sorted(chosen, key=lambda m: m.n)
        if m.ratio is not None and m.interval is not None
    )
    return Series(f"against {tier}", "control" if tier == "attention" else "causal", points)
