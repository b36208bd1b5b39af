"""Comparison with another checker: the planted leaks that each finds, and the time of each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import msgspec

from audits.claims.judged import Report
from audits.formatting import MISSING, Table, count, number

EXPERIMENT = "peer"
HEADING = "Comparison with another checker"
NOT_RUN = f"{HEADING}: not run: the peer is not installed here; `nox -s peers` installs and runs it."


class PeerLeak(msgspec.Struct, frozen=True):
    """One planted leak: verdicts of both checkers ("ours", "peer") on it and on its clean control."""

    twin: str
    leak_class: str = "unknown"
    leaky: dict[str, str] = {}
    clean: dict[str, str] = {}


class Timing(msgspec.Struct, frozen=True):
    """Processor seconds of one way of checking one model, median and range."""

    way: str
    verdict: str
    s_median: float
    s_low: float
    s_high: float


class Timings(msgspec.Struct, frozen=True):
    """The ways of checking one model at one length, the peer's first as it was run."""

    model: str
    n: int
    rows: tuple[Timing, ...] = ()

    @property
    def base(self) -> float | None:
        """The peer's median."""
        return next((row.s_median for row in self.rows if row.way == "peer"), None)


@dataclass(frozen=True)
class Peers:
    """Everything measured with the peer; `peer` is its name and release."""

    peer: str
    leaks: tuple[PeerLeak, ...]
    timings: tuple[Timings, ...]

    def seen(self, way: str, leak_class: str | None = None) -> int:
        """How many planted leaks (of a class) one of them finds."""
        return sum(t.leaky.get(way) == "LEAK" for t in self.leaks if leak_class in (None, t.leak_class))

    def alarms(self, way: str) -> int:
        """On how many clean controls one of them reports a leak."""
        return sum(leak.clean.get(way) == "LEAK" for leak in self.leaks)


def peers(report: Report) -> Peers | None:
    """The view; None where nothing was run."""
    records = report.evidence.of(EXPERIMENT)
    if not records:
        return None
    entries = [record.config | record.result for record in records]
    leaks = [msgspec.convert(entry, PeerLeak) for entry in entries if "twin" in entry]
    times = [msgspec.convert(entry, Timings) for entry in entries if "model" in entry]
    return Peers(
        " and ".join(sorted({str(entry.get("peer", "the peer")) for entry in entries})),
        tuple(sorted(leaks, key=lambda leak: (leak.leak_class, leak.twin))),
        tuple(sorted(times, key=lambda time: (time.model, time.n))),
    )


def sentence(found: Peers) -> str:
    """What each finds, in two sentences."""
    return (
        f"Of {count(len(found.leaks), 'planted leak')} this auditor finds {found.seen('ours')} and {found.peer} finds "
        f"{found.seen('peer')}. On their clean controls this auditor raises "
        f"{count(found.alarms('ours'), 'false alarm')}, the peer {found.alarms('peer')}. The planted leaks are this "
        "project's own. A token model is given to the peer from its embeddings on, in float64 and evaluation mode, "
        "with two rows and every cut."
    )


def class_table(found: Peers) -> Table:
    """Planted leaks by class, as each checker finds them."""
    planted = Counter(leak.leak_class for leak in found.leaks)
    rows = [(c, str(planted[c]), str(found.seen("ours", c)), str(found.seen("peer", c))) for c in sorted(planted)]
    return Table("Planted leaks found", ("class", "planted", "this auditor", found.peer), tuple(rows))


def leak_table(found: Peers) -> Table:
    """Every planted leak: leaky / clean verdict of both."""
    rows = [(leak.twin, leak.leak_class, *(_verdicts(leak, way) for way in ("ours", "peer"))) for leak in found.leaks]
    header = ("planted leak", "class", "this auditor", found.peer)
    return Table("Verdict on the leaky model / on its clean control", header, tuple(rows))


def _verdicts(leak: PeerLeak, way: str) -> str:
    return " / ".join(side.get(way, "not run") for side in (leak.leaky, leak.clean))


def time_table(found: Peers) -> Table:
    """Processor seconds of both on the same causal models, in turns, on one thread."""
    rows = [
        (
            timings.model,
            str(timings.n),
            found.peer if row.way == "peer" else row.way,
            row.verdict,
            number(row.s_median),
            f"{number(row.s_low)} to {number(row.s_high)}",
            number(row.s_median / timings.base) if timings.base else MISSING,
        )
        for timings in found.timings
        for row in timings.rows
    ]
    header = ("model", "n", "checker", "verdict", "median, s", "range, s", "times the peer's")
    return Table("Processor time on the same causal model, one thread, in turns", header, tuple(rows))
