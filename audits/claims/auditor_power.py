"""Our own claim about this tool: it kills every planted leak and flags no clean twin."""

from __future__ import annotations

from audits.claim import Claim, ClaimVerdict, Judgement, no_run_yet
from audits.ledger import Evidence, Record


def judge(evidence: Evidence) -> Judgement:
    """A survivor or a false alarm refutes, and fails the gate: verdicts of broken instruments are void."""
    records = [record for record in evidence.records if record.experiment == "kill-matrix"]
    if not records:
        return no_run_yet("the kill matrix")
    runs = tuple(sorted(record.run for record in records))
    survivors = [_name(r) for r in records if "LEAK" not in r.result["leaky"].values()]
    alarms = [_name(r) for r in records if set(r.result["clean"].values()) != {"PASS"}]
    misnamed = [_name(r) for r in records if r.result["named"] != r.result["leak_class"]]
    change = "A leak no probe sees, or a causal model some probe flags."
    if survivors or alarms:
        reason = f"Not killed: {', '.join(survivors) or 'none'}; clean twins not passed: {', '.join(alarms) or 'none'}."
        return Judgement(ClaimVerdict.REFUTED, reason, change, evidence=runs, gate=False)
    named = "all named rightly" if not misnamed else f"class named wrongly: {', '.join(sorted(misnamed))}"
    reason = (
        f"All {len(records)} planted leaks are killed ({named}), and all {len(records)} clean twins pass every probe."
    )
    return Judgement(ClaimVerdict.SUPPORTED, reason, change, evidence=runs)


def _name(record: Record) -> str:
    return str(record.config["twin"])


CLAIM = Claim(
    id="auditor-power",
    statement="This auditor kills every leak of its zoo and flags none of the clean twins.",
    source="our own claim about this tool",
    test="Every planted leak and its clean twin against every applicable probe: each leak seen by at least one, each "
    "clean twin passed by all.",
    refuted_by="One surviving leak, or one clean twin that does not pass.",
    judge=judge,
    needs=("kill-matrix",),
)
