"""What each probe can and cannot see, as Markdown: the kill matrix and the detection power, probe by probe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from audits.auditor.presets import QUICK
from audits.claims.judged import Report
from audits.claims.views import kill_matrix
from audits.experiments.auditor import _detection as power
from audits.instruments.probe import Probe
from audits.report.claims import prose
from audits.report.render.templates import page
from audits.statistics.counts import Counts, least_rate


class Sight(NamedTuple):
    """What one probe, or all of them together, sees: the leaks by name, in how many draws of each, its false alarms."""

    name: str
    kills: frozenset[str]
    drawn: list[power.Detection]
    alarm: power.Alarms | None

    @property
    def together(self) -> Counts:
        """The draws of all leaks in one count."""
        return Counts(sum(d.counts.successes for d in self.drawn), sum(d.counts.trials for d in self.drawn))

    @property
    def least(self) -> float:
        """The rate that all draws together exceed at the confidence."""
        return least_rate(self.together, power.CONFIDENCE)


def what_probes_see(report: Report, probes: Sequence[Probe]) -> str:
    """The page; `probes` state what they look at and what they cannot see."""
    matrix = kill_matrix(report)
    drawn = power.power_records(report.evidence, (leak.name for leak in matrix.leaks))
    records = [record for record in drawn if record.run not in report.stale] or drawn
    counted = {(one.leak, one.probe): one for one in power.detections(records)}
    alarms = {alarm.probe: alarm for alarm in power.alarms(records)}
    killed = frozenset(leak.name for leak in matrix.leaks if leak.killed)
    kills = dict(matrix.kills) | {name: killed for name in (power.AUDIT, power.QUICK) if name in alarms}

    def sight(name: str) -> Sight:
        keys = ((leak.name, name) for leak in matrix.leaks if leak.name in kills[name])
        return Sight(name, kills[name], [counted[key] for key in keys if key in counted], alarms.get(name))

    known = [probe for probe in probes if probe.name in matrix.probes]
    names = [*(probe.name for probe in known), *(name for name in kills if name not in matrix.probes)]
    sights = {name: sight(name) for name in names}
    return page("what-probes-see.md", matrix=matrix, sights=sights, probes=known, quick=QUICK, power=power, prose=prose)
