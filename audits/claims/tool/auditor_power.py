"""Our own claim about this tool: it kills every planted leak and flags no clean control."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from audits.claims.claim import Claim, ClaimVerdict, Judgement, Kind, no_run_yet
from audits.evidence.ledger import Evidence, Record
from audits.experiments.auditor._detection import (
    AUDIT,
    CONFIDENCE,
    DRAWS_NEEDED,
    FLOOR,
    Detection,
    alarms,
    detections,
    power_records,
)
from audits.formatting import Table
from audits.leaks._corpus import all_leaks
from audits.statistics.counts import rate_interval
from audits.statistics.summary import Interval


def judge(evidence: Evidence) -> Judgement:
    """The judgement on the whole leak corpus."""
    return judge_corpus(evidence, {leak.name for leak in all_leaks()})


def judge_corpus(evidence: Evidence, names: set[str]) -> Judgement:
    """A survivor, false alarm or wrong class refutes, and fails the gate: verdicts of broken instruments are void.

    So does a leak that the whole audit is known to see in fewer draws than the floor, and an alarm on any draw of a
    causal model. SUPPORTED needs every leak shown to be seen as often as the floor.

    Args:
        evidence: records of the kill matrix and of detection power; those of leaks no longer planted do not count.
        names: the planted leaks; a PASS needs them all.
    """
    records = [r for r in evidence.records if r.experiment == "kill-matrix" and _name(r) in names]
    drawn = power_records(evidence, names)
    audits = [found for found in detections(drawn) if found.probe == AUDIT]
    failures = {
        "leaks not killed": [_name(r) for r in records if "LEAK" not in r.result["leaky"].values()],
        "clean controls not passed": [_name(r) for r in records if set(r.result["clean"].values()) != {"PASS"}],
        "classes named wrongly": [_name(r) for r in records if r.result["named"] != r.result["leak_class"]],
        f"leaks seen in fewer than {FLOOR:.0%} of draws": [found.leak for found in audits if found.below],
        "causal models flagged in some draw": sorted({model for found in alarms(drawn) for model in found.models}),
    }
    failed = {what: sorted(found) for what, found in failures.items() if found}
    unshown = names - {found.leak for found in audits if found.shown}
    base = Judgement(
        ClaimVerdict.SUPPORTED,
        f"Every planted leak is found, named and shown to be seen in {FLOOR:.0%} of draws, and nothing else flagged.",
        "A leak no probe sees or that is seen too seldom, or a causal model some probe flags.",
        ours=f"{len(names) - len(set().union(*failed.values()))} of {len(names)} found and named",
        evidence=tuple(sorted(record.run for record in (*records, *drawn))),
        tables=_tables(drawn, audits),
        details=f"{len(names)} planted leaks. {_drawn(drawn, audits)}",
    )
    if failed:
        listed = "; ".join(f"{what}: {', '.join(found)}" for what, found in failed.items())
        reason = f"There are {', '.join(failed)}."
        return replace(
            base, verdict=ClaimVerdict.REFUTED, reason=reason, details=f"{listed}. {base.details}", gate=False
        )
    if {_name(r) for r in records} != names:
        return no_run_yet(f"the kill matrix with all {len(names)} planted leaks")
    if unshown:
        least = min((found.least for found in audits), default=0.0) if len(audits) == len(names) else 0.0
        return replace(
            base,
            verdict=ClaimVerdict.INCONCLUSIVE,
            reason=f"All planted leaks are found and named; {len(unshown)} of {len(names)} are not shown to be seen in "
            f"{FLOOR:.0%} of draws.",
            minimum_detectable_effect=f"a rate below {least:.0%}, which every leak is shown to exceed",
            seeds_needed=DRAWS_NEEDED,
        )
    return base


def _drawn(records: tuple[Record, ...], audits: Sequence[Detection]) -> str:
    """What repeating it with other weights and inputs gave."""
    if not audits:
        return "How often they are seen is not verified: no run of detection-power yet."
    least = min(audits, key=lambda found: found.least)
    quiet = next(found for found in alarms(records) if found.probe == AUDIT)
    return (
        f"With weights and inputs drawn anew, the audit sees each of {len(audits)} in at least {least.least:.0%} of "
        f"draws at {CONFIDENCE:.0%} confidence, one by one (least sure: {least.leak}, {least.counts}; {DRAWS_NEEDED} "
        f"draws, all seen, show {FLOOR:.0%}), and flags causal models, all together, in {quiet.counts} draws (at most "
        f"{quiet.most:.2%})."
    )


def _tables(records: tuple[Record, ...], audits: Sequence[Detection]) -> tuple[Table, ...]:
    """Rates of detection by leak, and of alarms by probe."""
    if not records:
        return ()
    seen = tuple((f.leak, str(f.counts), _percent(rate_interval(f.counts)), f"{f.least:.1%}") for f in audits)
    rows = tuple((a.probe, str(a.counts), f"{a.most:.2%}", str(a.undecided)) for a in alarms(records))
    header = ("probe", "causal models flagged", f"at most ({CONFIDENCE:.0%})", "undecided")
    return (
        Table(
            "How often the whole audit sees each planted leak, over draws of weights and inputs",
            ("leak", "seen", "95 % interval", f"at least ({CONFIDENCE:.0%})"),
            seen,
        ),
        Table("False alarms over draws of causal models", header, rows),
    )


def _percent(interval: Interval) -> str:
    return f"{interval.low:.1%} to {interval.high:.1%}"


def _name(record: Record) -> str:
    return str(record.config["twin"])


CLAIM = Claim(
    id="auditor-power",
    statement="The auditor finds every planted leak, names its class, and flags no clean control.",
    source="our own claim about this tool",
    kind=Kind.SELF_TEST,
    test="Every planted leak and its clean control against every applicable probe: each leak seen by at least one, "
    "each clean control passed by all. Then again with other weights and inputs: each leak shown to be seen by the "
    f"audit in at least {FLOOR:.0%} of draws (one-sided, Clopper-Pearson, {CONFIDENCE:.0%}; {DRAWS_NEEDED} draws, all "
    "seen, show it), and no causal model flagged in any draw.",
    refuted_by="One surviving or wrongly named leak, one clean control that does not pass, one causal model flagged in "
    f"any draw, or a leak that the audit sees in fewer than {FLOOR:.0%} of draws at {CONFIDENCE:.0%} confidence.",
    judge=judge,
    needs=("kill-matrix", "detection-power"),
)
