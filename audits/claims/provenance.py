"""Where a verdict comes from: its runs, their code and commit, the machine, and how long it took."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import msgspec

from audits.claims.claim import PRINTED, JudgedClaim
from audits.claims.judged import Report
from audits.evidence.ledger import Record
from audits.evidence.succession import shown_by
from audits.formatting import MISSING, Table, count, number

_HARDWARE = ("platform", "cpu", "cores", "device")  # of a record's environment; all else there are versions
# What differs between the configurations of one experiment's runs.
_ARMS = ("arm", "pattern", "routing", "chunk", "twin", "layer")
_MOST_LISTED = 4


class Origin(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The runs of one judgement, summed up; texts are sorted, so that nothing depends on the order of recording.

    Attributes:
        absent: addresses of deciding runs that the ledger does not hold.
        commits: of the checkouts they ran in; a + where one had changes.
        machines: platform, processor, cores and device.
        versions: of python, torch and what else was recorded.
        seconds: wall-clock time of all together.
        recorded: when the first and the last were recorded, UTC; empty where no record says so.
        rechecked: by what runs of earlier code count as made by today's.
    """

    absent: tuple[str, ...]
    commits: tuple[str, ...]
    machines: tuple[str, ...]
    versions: tuple[str, ...]
    seconds: int | float
    recorded: tuple[str, ...]
    rechecked: tuple[str, ...] = ()


class Provenance(Origin, frozen=True, kw_only=True):
    """The same with the addresses of all deciding runs, and of those whose code has changed since."""

    runs: tuple[str, ...]
    stale: tuple[str, ...]


def provenance(report: Report, item: JudgedClaim) -> Provenance:
    """Where the verdict on a claim at one tier comes from."""
    known = _known(report)
    runs = item.judgement.evidence
    found = [known[run] for run in runs if run in known]
    dates = sorted(record.recorded for record in found if record.recorded)
    return Provenance(
        runs=runs,
        stale=item.stale,
        absent=tuple(run for run in runs if run not in known),
        commits=_distinct(found, lambda record: record.commit),
        machines=_distinct(found, lambda record: _machine(record.environment)),
        versions=_distinct(found, lambda record: _versions(record.environment)),
        seconds=sum(record.seconds for record in sorted(found, key=lambda record: record.run)),
        recorded=(dates[0], dates[-1]) if dates else (),
        rechecked=tuple(sorted({sentence for record in found for sentence in _shown_by(report, record)})),
    )


def _shown_by(report: Report, record: Record) -> tuple[str, ...]:
    today = report.codes.get(record.experiment, "")
    return shown_by(report.evidence, record.experiment, record.code, today)


def _known(report: Report) -> Mapping[str, Record]:
    return {record.run: record for record in report.evidence.records}


def _distinct(records: Iterable[Record], of: Callable[[Record], str]) -> tuple[str, ...]:
    """The values of all records, each once, sorted; empty ones left out."""
    return tuple(sorted({of(record) for record in records} - {""}))


def _machine(environment: Mapping[str, object]) -> str:
    words = {key: str(environment[key]) for key in _HARDWARE if environment.get(key)}
    cores = f"{words['cores']} cores" if "cores" in words else ""
    device = "" if words.get("device") in (None, "cpu") else f"on {words['device']}"
    return ", ".join(part for part in (words.get("platform"), words.get("cpu"), cores, device) if part)


def _versions(environment: Mapping[str, object]) -> str:
    return ", ".join(f"{key} {environment[key]}" for key in sorted(environment) if key not in _HARDWARE)


def state(origin: Provenance) -> str:
    """Whether the runs were made by the code of today, in words; empty where there is no run."""
    if not origin.runs:
        return ""
    if not origin.stale:
        return f"fresh: {count(len(origin.runs), 'run')} of today's code"
    return (
        f"stale: the code of {len(origin.stale)} of {count(len(origin.runs), 'deciding run')} has changed since "
        f"({listed(origin.stale)})"
    )


def facts(origin: Provenance) -> tuple[tuple[str, str], ...]:
    """Names and values, the empty ones left out."""
    days = tuple(dict.fromkeys(moment[:10] for moment in origin.recorded))
    pairs = (
        ("Stale or fresh", state(origin)),
        ("Re-checked", "; ".join(origin.rechecked)),
        ("Not in the ledger", listed(origin.absent)),
        ("Commit", listed(origin.commits)),
        ("Recorded", " to ".join(days)),
        ("Machine", "; ".join(origin.machines)),
        ("Versions", "; ".join(origin.versions)),
        ("Wall time", duration(origin.seconds) if origin.runs and origin.seconds else ""),
    )
    return tuple((name, value) for name, value in pairs if value)


def listed(names: tuple[str, ...]) -> str:
    """The names, the last ones counted where there are many."""
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    return ", ".join(names[:_MOST_LISTED]) + more


def duration(seconds: float) -> str:
    """Seconds in the unit a reader counts in."""
    for unit, size in (("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * size:
            return f"{number(seconds / size, 2)} {unit}"
    return f"{number(seconds, 2)} seconds"


def runs_table(report: Report, item: JudgedClaim) -> Table:
    """The deciding runs one by one; addresses that the ledger does not hold are marked."""
    known, stale = _known(report), set(item.stale)
    rows = [_row(run, known.get(run), stale=run in stale) for run in item.judgement.evidence]
    header = ("run", "experiment", "arm", "seed", "seconds", "commit", "recorded", "code")
    return Table("Runs that decided", header, tuple(rows))


def _row(run: str, record: Record | None, *, stale: bool) -> tuple[str, ...]:
    if record is None:
        return (run, "not in the ledger", *["-"] * 6)
    arm = " ".join(str(record.config[key]) for key in _ARMS if key in record.config) or "-"
    made = (record.commit or MISSING, record.recorded or MISSING, "stale" if stale else "fresh")
    return (run, record.experiment, arm, str(record.seed), number(record.seconds), *made)


def reproduce(item: JudgedClaim) -> str:
    """The command that gathers what is missing and judges the claim again."""
    tier = "" if item.tier == PRINTED else f"--tier {item.tier} "
    return f"hubrouter-audit claims {tier}--only {item.claim.id}"
