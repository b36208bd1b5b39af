"""What each probe can and cannot see, as Markdown: the kill matrix and the detection power, probe by probe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from audits.auditor.presets import PRESETS
from audits.claims.judged import Report
from audits.claims.views import KillMatrix, KillRow, kill_matrix
from audits.experiments.auditor._detection import (
    AUDIT,
    CONFIDENCE,
    DRAWS_NEEDED,
    FLOOR,
    QUICK,
    Alarms,
    Detection,
    power_records,
)
from audits.experiments.auditor._detection import alarms as alarms_of
from audits.experiments.auditor._detection import detections as detections_of
from audits.formatting import MISSING, count
from audits.instruments.probe import Probe
from audits.report.claims import prose, tables
from audits.report.render.escape import code
from audits.report.render.escape import markdown as text
from audits.report.render.templates import page
from audits.statistics.counts import Counts, least_rate

INTRODUCTION = f"""\
Written by `hubrouter-audit report --page FILE` from the evidence in `reports/evidence`; do not edit. A probe *sees* a
planted leak if it says LEAK in the kill matrix. How often it does was counted over draws of other weights and inputs: a
leak is shown to be seen in {FLOOR:.0%} of draws, at {CONFIDENCE:.0%} confidence (one-sided, Clopper-Pearson), once
{DRAWS_NEEDED} draws or more have all been seen; *draws seen* puts all leaks of a probe together. False alarms were
counted over draws of causal models: the clean control of every leak, and common layers."""


def what_probes_see(report: Report, probes: Sequence[Probe]) -> str:
    """The page; `probes` state what they look at and what they cannot see."""
    matrix = kill_matrix(report)
    known = [probe for probe in probes if probe.name in matrix.probes]
    drawn = power_records(report.evidence, (leak.name for leak in matrix.leaks))
    records = [record for record in drawn if record.run not in report.stale] or drawn
    found = _Page(matrix, detections_of(records), {alarm.probe: alarm for alarm in alarms_of(records)})
    nothing = "" if matrix.leaks else tables.empty_note("Kill matrix")
    return page("what-probes-see.md", introduction=INTRODUCTION, probes=known, found=found, nothing=nothing)


class _Page:
    """The parts of the page, over one matrix and the draws."""

    def __init__(self, matrix: KillMatrix, found: tuple[Detection, ...], quiet: Mapping[str, Alarms]) -> None:
        self.matrix, self.quiet = matrix, quiet
        self.found = {(one.leak, one.probe): one for one in found}

    def summary(self, probes: Sequence[Probe]) -> list[tuple[str, ...]]:
        """One row a probe, and one for all together and the quick preset; the cells are Markdown."""
        rows = [self._row(p.name, self.matrix.kills[p.name], self._cost(p.name)) for p in probes]
        every = frozenset(leak.name for leak in self.matrix.leaks if leak.killed)
        return rows + [self._row(name, every, MISSING) for name in (AUDIT, QUICK) if name in self.quiet]

    def _row(self, name: str, kills: frozenset[str], cost: str) -> tuple[str, ...]:
        drawn = [self.found[leak, name] for leak in kills if (leak, name) in self.found]
        only = len(self.matrix.battery.only.get(name, ()))
        least = min(drawn, key=lambda one: (one.least, one.leak), default=None)
        alarm = self.quiet.get(name)
        together = _together(drawn)
        return (
            text(name),
            f"{len(kills)} of {len(self.matrix.leaks)}",
            str(only) if name in self.matrix.probes else MISSING,
            f"{together}, at least {least_rate(together, CONFIDENCE):.1%}" if together else MISSING,
            f"{sum(one.shown for one in drawn)} of {count(len(drawn), 'leak')}" if drawn else MISSING,
            f"{text(least.leak)}, {least.counts}" if least else MISSING,
            f"{alarm.counts}, at most {alarm.most:.2%}" if alarm else MISSING,
            cost,
        )

    def _cost(self, name: str) -> str:
        """Forward passes on the clean controls: fewest and most."""
        passes = [leak.forwards[name] for leak in self.matrix.leaks if name in leak.forwards]
        return f"{min(passes)} to {max(passes)}" if passes else MISSING

    def battery(self) -> list[str]:
        """The smallest set, and the preset made from it."""
        battery, quick = self.matrix.battery, PRESETS["quick"] or ()
        sets = "; ".join(", ".join(probes) for probes in battery.smallest)
        return [
            text(prose.battery_sentence(self.matrix)),
            f"All sets of that size that do: {text(sets)}. Dispensable each by itself: "
            f"{text(', '.join(battery.redundant) or 'none')}.",
            f"`--preset quick` runs {', '.join(map(code, quick))}. Where tracing decides nothing (a model it cannot "
            "run, a choice that no change reverses) the other probes are run as well. A probe that is dispensable here "
            "is not so everywhere: the planted leaks are a selection, and two instruments that agree are worth more "
            "than one.",
        ]

    def probe(self, probe: Probe) -> list[str]:
        """One probe: what it looks at, sees, and does not see."""
        seen = [leak for leak in self.matrix.leaks if leak.name in self.matrix.kills[probe.name]]
        only = self.matrix.battery.only.get(probe.name, ())
        parts = [
            f"Looks at {text(probe.looks_at)}.",
            f"**Sees {count(len(seen), 'planted leak')}.** {self._named(seen, probe.name)}",
            f"**It alone sees** {', '.join(map(code, only))}." if only else "**It alone sees** none of them.",
            f"**Blind to** {text(probe.blind_to)}",
            f"Not seen or nothing to look at: {self._missed(seen)}",
        ]
        return [*parts, *self._alarm(probe.name)]

    def _named(self, leaks: Sequence[KillRow], probe: str) -> str:
        """Leaks by class; those seen too seldom to show the floor with their number."""
        short = [self.found[t.name, probe] for t in leaks if (t.name, probe) in self.found]
        short = [one for one in short if one.counts.successes < one.counts.trials]
        rest = f"Not in every draw: {', '.join(f'{code(one.leak)} ({one.counts})' for one in short)}." if short else ""
        return f"{_by_class(leaks)} {rest}".strip()

    def _missed(self, seen: Sequence[KillRow]) -> str:
        """Leaks by class that some other probe sees; a class of which it sees none is only counted."""
        kinds = {leak.leak_class for leak in seen}
        missed = [leak for leak in self.matrix.leaks if leak.killed and leak not in seen]
        none = [leak.leak_class for leak in missed if leak.leak_class not in kinds]
        whole = [f"all of class {kind} ({none.count(kind)})" for kind in dict.fromkeys(none)]
        some = _by_class([leak for leak in missed if leak.leak_class in kinds]).removesuffix(".")
        return ("; ".join([*([some] if some else []), *whole]) or "none") + "."

    def _alarm(self, name: str) -> list[str]:
        alarm = self.quiet.get(name)
        if alarm is None:
            return []
        undecided = f"; undecided in {alarm.undecided}" if alarm.undecided else ""
        models = f" ({', '.join(map(code, alarm.models))})" if alarm.models else ""
        return [f"False alarms: {alarm.counts} draws of causal models{models}, at most {alarm.most:.2%}{undecided}."]

    def leaks(self) -> list[tuple[str, ...]]:
        """Every planted leak: name, class, mechanism, origin and who sees it."""
        return [
            (code(t.name), text(t.leak_class), text(t.mechanism), text(t.origin), ", ".join(_seen_by(t)) or "none")
            for t in self.matrix.leaks
        ]


def _together(drawn: Sequence[Detection]) -> Counts | None:
    """The draws of all leaks in one count; None without any."""
    trials = sum(one.counts.trials for one in drawn)
    return Counts(sum(one.counts.successes for one in drawn), trials) if trials else None


def _seen_by(leak: KillRow) -> list[str]:
    return [probe for probe, verdict in leak.leaky.items() if verdict == "LEAK"]


def _by_class(leaks: Sequence[KillRow]) -> str:
    """Names grouped by leak class; leaks come in that order."""
    groups = groupby(leaks, key=lambda leak: leak.leak_class)
    return "; ".join(f"{kind}: {', '.join(code(leak.name) for leak in members)}" for kind, members in groups) + "."
