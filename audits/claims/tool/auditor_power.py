"""Our own claim about this tool: it kills every planted leak and flags no clean control."""

from __future__ import annotations

from audits.claims.claim import Claim, ClaimVerdict, Judgement, Kind, no_run_yet
from audits.evidence.ledger import Evidence, Record
from audits.experiments.auditor._detection import (
    AUDIT,
    CONFIDENCE,
    DRAWS_NEEDED,
    FLOOR,
    alarms,
    detections,
    power_records,
)
from audits.formatting import Table
from audits.leaks._corpus import all_leaks


def judge(evidence: Evidence) -> Judgement:
    """The judgement on the whole leak corpus."""
    return judge_corpus(evidence, {leak.name for leak in all_leaks()})


def judge_corpus(evidence: Evidence, names: set[str]) -> Judgement:
    """A survivor, false alarm or wrong class refutes, and fails the gate: verdicts of broken instruments are void.

    So does a leak that the whole audit sees in fewer draws than the floor, and an alarm on any draw of a causal model.

    Args:
        evidence: records of the kill matrix and of detection power; those of leaks no longer planted do not count.
        names: the planted leaks; a PASS needs them all.
    """
    records = [r for r in evidence.records if r.experiment == "kill-matrix" and _name(r) in names]
    drawn = power_records(evidence, names)
    runs = tuple(sorted(record.run for record in (*records, *drawn)))
    survivors = [_name(r) for r in records if "LEAK" not in r.result["leaky"].values()]
    failed = [_name(r) for r in records if set(r.result["clean"].values()) != {"PASS"}]
    misnamed = [_name(r) for r in records if r.result["named"] != r.result["leak_class"]]
    seldom = [found.leak for found in detections(drawn) if found.probe == AUDIT and found.below]
    flagged = sorted({model for found in alarms(drawn) for model in found.models})
    change = "A leak no probe sees or that is seen too seldom, or a causal model some probe flags."
    if survivors or failed or misnamed or seldom or flagged:
        listed = (
            ("not killed", survivors),
            ("clean controls not passed", failed),
            ("class named wrongly", misnamed),
            (f"seen in fewer than {FLOOR:.0%} of draws", seldom),
            ("causal models flagged in some draw", flagged),
        )
        reason = "; ".join(f"{what}: {', '.join(sorted(found))}" for what, found in listed if found)
        return Judgement(ClaimVerdict.REFUTED, f"{reason}.", change, evidence=runs, gate=False)
    if {_name(r) for r in records} != names:
        return no_run_yet(f"the kill matrix with all {len(names)} planted leaks")
    reason = f"All {len(names)} planted leaks are killed and classified correctly, and all their clean controls pass "
    reason += f"every probe. {_drawn(drawn)}"
    return Judgement(ClaimVerdict.SUPPORTED, reason, change, evidence=runs, tables=_tables(drawn))


def _drawn(records: tuple[Record, ...]) -> str:
    """What repeating it with other weights and inputs gave."""
    audits = [found for found in detections(records) if found.probe == AUDIT]
    if not audits:
        return "How often is not verified: no run of detection-power yet."
    least = min(audits, key=lambda found: found.least)
    quiet = next(found for found in alarms(records) if found.probe == AUDIT)
    return (
        f"With weights and inputs drawn anew, the audit sees each of {len(audits)} leaks in at least {least.least:.0%} "
        f"of draws at {CONFIDENCE:.0%} confidence (least sure: {least.leak}, {least.counts}; {DRAWS_NEEDED} draws all "
        f"seen would show {FLOOR:.0%}), and flags causal models in {quiet.counts} draws (at most {quiet.most:.2%})."
    )


def _tables(records: tuple[Record, ...]) -> tuple[Table, ...]:
    """Alarms by probe."""
    rows = tuple((a.probe, str(a.counts), f"{a.most:.2%}", str(a.undecided)) for a in alarms(records))
    header = ("probe", "causal models flagged", f"at most ({CONFIDENCE:.0%})", "undecided")
    return (Table("False alarms over draws of causal models", header, rows),) if rows else ()


def _name(record: Record) -> str:
    return str(record.config["twin"])


CLAIM = Claim(
    id="auditor-power",
    statement="This auditor kills every leak of its corpus, names its class, and flags none of the clean controls.",
    source="our own claim about this tool",
    kind=Kind.SELF_TEST,
    test="Every planted leak and its clean control against every applicable probe: each leak seen by at least one, "
    "each clean control passed by all. Then again with other weights and inputs: how often each leak is seen, and how "
    "often a causal model is flagged.",
    refuted_by="One surviving or wrongly named leak, one clean control that does not pass, one causal model flagged in "
    f"any draw, or a leak that the audit sees in fewer than {FLOOR:.0%} of draws at {CONFIDENCE:.0%} confidence.",
    judge=judge,
    needs=("kill-matrix", "detection-power"),
)
