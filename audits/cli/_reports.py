"""Fresh reports beside the committed ones: where a command writes, what it judges, and how both compare.

`reports/` in a checkout is the reference. What a command gathers goes to `reports/local/`, which git ignores, unless
another folder is named; `--reports reports` writes the reference itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from audits.claims.claim import JudgedClaim
from audits.claims.judged import Report, report_of
from audits.evidence.ledger import Evidence, Ledger
from audits.formatting import count

REFERENCE, LOCAL = Path("reports"), Path("reports/local")


def ledger_in(folder: Path) -> Ledger:
    """The ledger of a folder of reports."""
    return Ledger(folder / "evidence")


def reference_of(folder: Path) -> Evidence:
    """The committed evidence that is read besides that of a folder; none beside the reference or elsewhere."""
    beside = folder == LOCAL and (REFERENCE / "evidence").is_dir()
    return ledger_in(REFERENCE).read() if beside else Evidence()


def together(reference: Evidence, gathered: Evidence) -> Evidence:
    """What was gathered, and what the reference answers besides."""
    return Evidence((*reference.records, *gathered.records))


def compared(report: Report, reference: Evidence, ids: Iterable[str], tier: str) -> Iterator[str]:
    """Which verdicts of a tier agree with those of the committed evidence, in lines; nothing where there is none."""
    if not reference.records:
        return
    here, there = _verdicts(report.judged, tier), _verdicts(report_of(reference).judged, tier)
    both = [name for name in ids if name in here and name in there]
    differ = [name for name in both if here[name] != there[name]]
    agree, but = count(len(both) - len(differ), "verdict"), ", these are not:" if differ else "."
    yield f"Beside the committed reports, tier {tier}: {agree} of {len(both)} the same{but}"
    yield from (f"  {name}: {here[name]} here, {there[name]} there" for name in differ)


def _verdicts(judged: Iterable[JudgedClaim], tier: str) -> dict[str, str]:
    at_tier = (each for item in judged for each in item.at_every_tier if each.tier == tier)
    return {each.claim.id: str(each.judgement.verdict) for each in at_tier}
