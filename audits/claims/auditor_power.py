"""Our own claim about this tool: it kills every planted leak and flags no clean twin."""

from __future__ import annotations

from audits.claim import Claim, ClaimVerdict, Judgement, no_run_yet
from audits.ledger import Evidence, Record
from audits.twin import all_twins


def judge(evidence: Evidence) -> Judgement:
    """The judgement on the whole zoo."""
    return judge_zoo(evidence, {twin.name for twin in all_twins()})


def judge_zoo(evidence: Evidence, names: set[str]) -> Judgement:
    """A survivor, false alarm or wrong class refutes, and fails the gate: verdicts of broken instruments are void.

    Args:
        evidence: records of the kill matrix; those of leaks that are no longer planted do not count.
        names: the planted leaks; a PASS needs them all.
    """
    records = [r for r in evidence.records if r.experiment == "kill-matrix" and _name(r) in names]
    runs = tuple(sorted(record.run for record in records))
    survivors = [_name(r) for r in records if "LEAK" not in r.result["leaky"].values()]
    alarms = [_name(r) for r in records if set(r.result["clean"].values()) != {"PASS"}]
    misnamed = [_name(r) for r in records if r.result["named"] != r.result["leak_class"]]
    change = "A leak no probe sees, or a causal model some probe flags."
    if survivors or alarms or misnamed:
        listed = (("not killed", survivors), ("clean twins not passed", alarms), ("class named wrongly", misnamed))
        reason = "; ".join(f"{what}: {', '.join(sorted(found))}" for what, found in listed if found)
        return Judgement(ClaimVerdict.REFUTED, f"{reason}.", change, evidence=runs, gate=False)
    if {_name(r) for r in records} != names:
        return no_run_yet(f"the kill matrix with all {len(names)} planted leaks")
    reason = f"All {len(names)} planted leaks are killed and named rightly, and all their clean twins pass every probe."
    return Judgement(ClaimVerdict.SUPPORTED, reason, change, evidence=runs)


def _name(record: Record) -> str:
    return str(record.config["twin"])


CLAIM = Claim(
    id="auditor-power",
    statement="This auditor kills every leak of its zoo, names its class, and flags none of the clean twins.",
    source="our own claim about this tool",
    test="Every planted leak and its clean twin against every applicable probe: each leak seen by at least one, each "
    "clean twin passed by all.",
    refuted_by="One surviving or wrongly named leak, or one clean twin that does not pass.",
    judge=judge,
    needs=("kill-matrix",),
)
