"""Claim `cost`: routing through M hubs costs O(nM), sub-quadratic in the length."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

from audits.claims.claim import Claim, ClaimVerdict, Judgement, no_run_yet
from audits.claims.hubrouter._bench import growth_runs, growth_table, growths
from audits.claims.hubrouter._paper import SOURCE
from audits.evidence.ledger import Evidence, Record
from audits.formatting import Table

LINEAR = 1.05  # a counted exponent up to here is called linear (our choice)
QUADRATIC = 2.0


def judge(evidence: Evidence) -> Judgement:
    """The counted exponent must be linear, and the measured one's interval must lie below quadratic.

    The bench, where it was run, can refute the claim; with the few lengths of a tier its interval alone proves nothing.
    """
    records = {str(r.config["layer"]): r for r in evidence.latest("layer-cost", "layer")}
    if "hub" not in records or "attention" not in records:
        return no_run_yet("the layers' cost")
    hub, attention = records["hub"], records["attention"]
    counted, measured = hub.result["flops_exponent"], hub.result["ms_exponent"]
    benched = growths(evidence)
    runs = (hub.run, attention.run, *(growth_runs(evidence) if benched else ()))
    per_hub = _per_hub(hub)
    details = (
        f"Counted FLOPs of the strictly causal layer grow as n^{counted:.2f} (attention: "
        f"n^{attention.result['flops_exponent']:.2f} over the same lengths), selection included; the measured "
        f"exponent's 95 % interval lies {'below' if measured['high'] < QUADRATIC else 'not below'} quadratic. Each "
        f"further hub adds the same FLOPs: {'yes' if len(per_hub) == 1 else 'no'}, from 8 to 32 hubs."
    )
    ours = f"FLOPs n^{counted:.2f}, time n^{measured['low']:.2f} to n^{measured['high']:.2f}"
    change = "An implementation whose cost grows faster, or a length at which another term dominates."
    tables = (_table(hub, attention), *((growth_table(benched),) if benched else ()))
    judged = partial(Judgement, evidence=runs, tables=tables, details=details, ours=ours)
    quadratic = any(growth.exponent.low >= QUADRATIC for growth in benched)
    if counted <= LINEAR and measured["high"] < QUADRATIC and len(per_hub) == 1 and not quadratic:
        reason = "Counted FLOPs grow linearly with length and hubs, and measured time less than quadratically."
        return judged(ClaimVerdict.SUPPORTED, reason, change)
    if counted >= QUADRATIC - 0.05 or measured["low"] >= QUADRATIC or quadratic:
        reason = "Counted FLOPs or measured time grow quadratically with the length."
        return judged(ClaimVerdict.REFUTED, reason, change)
    reason = "Neither linear nor quadratic growth of FLOPs and time is shown."
    undetectable = "not computable: no model of noise"
    return judged(ClaimVerdict.INCONCLUSIVE, reason, "More lengths.", undetectable)


def _per_hub(hub: Record) -> set[float]:
    """FLOPs that one more hub adds, between neighbouring hub counts: one value where cost is linear in M."""
    steps = hub.result["hubs"]
    return {(b["flops"] - a["flops"]) / (b["hubs"] - a["hubs"]) for a, b in pairwise(steps)}


def _table(hub: Record, attention: Record) -> Table:
    """FLOPs a token: constant for a linear layer."""
    pairs = zip(hub.result["rows"], attention.result["rows"], strict=True)
    rows = tuple((str(a["n"]), f"{a['flops'] / a['n']:,.0f}", f"{b['flops'] / b['n']:,.0f}") for a, b in pairs)
    return Table("Counted FLOPs a token of the length, forward and backward", ("n", "hub layer", "attention"), rows)


CLAIM = Claim(
    id="cost",
    statement="HubRouter costs O(nM): sub-quadratic in the sequence length n.",
    source=SOURCE,
    test=f"FLOPs counted by torch over six lengths: exponent at most {LINEAR}, and linear in M; and the 95 % interval "
    "of the measured exponent of forward plus backward time lies below 2; no interval of the bench lies above 2.",
    refuted_by="A counted exponent of about 2, or a measured one (the bench's too) whose interval lies at or above 2.",
    judge=judge,
    needs=("layer-cost",),
)
