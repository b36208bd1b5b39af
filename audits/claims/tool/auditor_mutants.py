"""Our own claim about this tool: it finds faults that nobody planted by hand, in models that nobody wrote for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from audits.claims.claim import Claim, ClaimVerdict, Judgement, Kind, no_run_yet
from audits.evidence.ledger import Evidence
from audits.experiments.auditor._detection import CONFIDENCE, FLOOR
from audits.experiments.auditor.mutants import NAME
from audits.formatting import Table
from audits.statistics.counts import Counts, largest_rate, least_rate, rate_interval

LEAST = 200  # mutants below which nothing is said


def judge(evidence: Evidence) -> Judgement:
    """The share of mutants found; an architecture called leaky without a fault refutes."""
    records = [record for record in evidence.of(NAME) if "mutants" in record.result]
    mutants = [each | {"model": record.config["name"]} for record in records for each in record.result["mutants"]]
    if len(mutants) < LEAST:
        return no_run_yet(f"{LEAST} mutants of transformers' architectures")
    found = Counts(sum(each["verdict"] == "LEAK" for each in mutants), len(mutants))
    flagged = sorted(str(record.config["name"]) for record in records if record.result["clean"] == "LEAK")
    interval = rate_interval(found)
    share = f"{found} mutants of {len(records)} architectures ({interval.low:.0%} to {interval.high:.0%})"
    base = Judgement(
        ClaimVerdict.SUPPORTED,
        f"The audit finds {share}.",
        f"Fewer than {FLOOR:.0%} found, or an architecture without a fault that is called leaky.",
        ours=f"{found} ({interval.low:.0%} to {interval.high:.0%})",
        evidence=tuple(sorted(record.run for record in records)),
        tables=(by_fault(mutants), missed(mutants)),
        details=f"Called leaky without a fault: {', '.join(flagged) or 'none'}. The rest of what was not found was "
        f"{sum(each['verdict'] == 'UNDETERMINED' for each in mutants)} times undetermined.",
    )
    if flagged:
        return replace(
            base, verdict=ClaimVerdict.REFUTED, reason=f"{len(flagged)} models without a fault are called leaky."
        )
    if largest_rate(found, CONFIDENCE) < FLOOR:
        return replace(base, verdict=ClaimVerdict.REFUTED, reason=f"The audit finds only {share}.")
    if least_rate(found, CONFIDENCE) < FLOOR:
        needed = f"a rate below {least_rate(found, CONFIDENCE):.0%}, which is exceeded"
        return replace(base, verdict=ClaimVerdict.INCONCLUSIVE, minimum_detectable_effect=needed)
    return base


def by_fault(mutants: Sequence[dict[str, Any]]) -> Table:
    """How many of each fault were found."""
    rows = []
    for fault in sorted({each["fault"] for each in mutants}):
        verdicts = [each["verdict"] for each in mutants if each["fault"] == fault]
        counts = Counts(verdicts.count("LEAK"), len(verdicts))
        interval = rate_interval(counts)
        rows.append((fault, str(counts), f"{interval.low:.0%} to {interval.high:.0%}"))
    return Table("Mutants found, by fault", ("fault", "found", "95 % interval"), tuple(rows))


def missed(mutants: Sequence[dict[str, Any]]) -> Table:
    """Every mutant that was not found, and where brute force sees it."""
    rows = [
        (each["model"], each["fault"], str(each["site"]), ", ".join(each["live"]), each["verdict"])
        for each in mutants
        if each["verdict"] != "LEAK"
    ]
    return Table(
        "Mutants not found", ("architecture", "fault", "submodule", "leaks in", "verdict"), tuple(sorted(rows))
    )


CLAIM = Claim(
    id="auditor-mutants",
    statement=f"The auditor finds at least {FLOOR:.0%} of faults injected into transformers' models.",
    source="our own claim about this tool",
    kind=Kind.SELF_TEST,
    test="Faults of many kinds (masks, statistics over time, hard choices, other rows, length, state, training mode, "
    "precision, decoding) at random submodules of tiny models of transformers. Brute force, which shares no code with "
    "the auditor, says which leak; the share that the audit finds has an exact interval.",
    refuted_by=f"A share below {FLOOR:.0%} at {CONFIDENCE:.0%} confidence, or one architecture called leaky without a "
    "fault.",
    judge=judge,
    needs=(NAME,),
)
