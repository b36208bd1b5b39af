"""Beside another checker: what each finds of the planted leaks and what each takes, read from the evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from audits.claims.figures import Table
from audits.evidence.ledger import Record
from audits.formatting import MISSING, count, number
from audits.report.claims.document import Report

EXPERIMENT = "peer"
HEADING = "Beside another checker"
NOT_RUN = "Beside another checker: not run: the peer is not installed here; `nox -s peers` installs and runs it."
_WAYS = ("ours", "peer")


@dataclass(frozen=True)
class PeerTwin:
    """One planted leak: verdicts of both checkers ("ours", "peer") on either side."""

    name: str
    leak_class: str
    leaky: dict[str, str]
    clean: dict[str, str]


@dataclass(frozen=True)
class PeerTime:
    """Processor seconds of one way of checking one model, median and range; `ratio` is to the peer's median on it."""

    model: str
    n: int
    way: str
    verdict: str
    median: float
    low: float
    high: float
    ratio: float | None


@dataclass(frozen=True)
class Peers:
    """Everything measured beside the peer; `peer` is its name and release."""

    peer: str
    twins: tuple[PeerTwin, ...]
    times: tuple[PeerTime, ...]

    def seen(self, way: str, leak_class: str | None = None) -> int:
        """How many planted leaks (of a class) one of them finds."""
        return sum(t.leaky[way] == "LEAK" for t in self.twins if leak_class in (None, t.leak_class))

    def alarms(self, way: str) -> int:
        """On how many clean twins one of them cries leak."""
        return sum(twin.clean[way] == "LEAK" for twin in self.twins)


def peers(report: Report) -> Peers | None:
    """The view; None where nothing was run."""
    records = report.evidence.of(EXPERIMENT)
    if not records:
        return None
    twins = [_twin(record) for record in records if "twin" in record.config]
    times = [time for record in records if "model" in record.config for time in _times(record)]
    return Peers(
        " and ".join(sorted({str(record.result.get("peer", "the peer")) for record in records})),
        tuple(sorted(twins, key=lambda twin: (twin.leak_class, twin.name))),
        tuple(sorted(times, key=lambda time: (time.model, time.n))),
    )


def _twin(record: Record) -> PeerTwin:
    """One record of a planted leak; what it lacks reads as not run."""
    sides = [record.result.get(side) or {} for side in ("leaky", "clean")]
    leaky, clean = ({way: str(side.get(way, "not run")) for way in _WAYS} for side in sides)
    return PeerTwin(str(record.config["twin"]), str(record.result.get("leak_class", "unknown")), leaky, clean)


def _times(record: Record) -> list[PeerTime]:
    """The ways of one model and length, the peer's first as it was run."""
    rows: Sequence[dict[str, Any]] = record.result.get("rows", ())
    base = next((float(row["s_median"]) for row in rows if row["way"] == "peer"), None)
    return [
        PeerTime(
            model=str(record.config["model"]),
            n=int(record.config["n"]),
            way=str(row["way"]),
            verdict=str(row["verdict"]),
            median=float(row["s_median"]),
            low=float(row["s_low"]),
            high=float(row["s_high"]),
            ratio=float(row["s_median"]) / base if base else None,
        )
        for row in rows
    ]


def sentence(found: Peers) -> str:
    """What each finds, in two sentences."""
    total = len(found.twins)
    return (
        f"Of {count(total, 'planted leak')} this auditor finds {found.seen('ours')} and {found.peer} finds "
        f"{found.seen('peer')}. On their clean twins this auditor raises {count(found.alarms('ours'), 'false alarm')}, "
        f"the peer {found.alarms('peer')}. The planted leaks are this project's own. A token model is given to the "
        "peer from its embeddings on, in float64 and evaluation mode, with two rows and every cut."
    )


def class_table(found: Peers) -> Table:
    """Planted leaks by class: where the peer is blind."""
    classes = sorted({twin.leak_class for twin in found.twins})
    planted = {name: sum(twin.leak_class == name for twin in found.twins) for name in classes}
    rows = [(c, str(planted[c]), str(found.seen("ours", c)), str(found.seen("peer", c))) for c in classes]
    return Table("Planted leaks found", ("class", "planted", "this auditor", found.peer), tuple(rows))


def twin_table(found: Peers) -> Table:
    """Every planted leak: leaky / clean verdict of both."""
    rows = [
        (twin.name, twin.leak_class, *(f"{twin.leaky[way]} / {twin.clean[way]}" for way in _WAYS))
        for twin in found.twins
    ]
    header = ("planted leak", "class", "this auditor", found.peer)
    return Table("Verdict on the leaky twin / on the clean twin", header, tuple(rows))


def time_table(found: Peers) -> Table:
    """Processor seconds of both on the same causal models, in turns, on one thread."""
    rows = [
        (
            t.model,
            str(t.n),
            found.peer if t.way == "peer" else t.way,
            t.verdict,
            number(t.median),
            f"{number(t.low)} to {number(t.high)}",
            MISSING if t.ratio is None else number(t.ratio),
        )
        for t in found.times
    ]
    header = ("model", "n", "checker", "verdict", "median, s", "range, s", "times the peer's")
    return Table("Processor time on the same causal model, one thread, in turns", header, tuple(rows))
