"""Claim `kernels`: what the Triton kernels compute is the layer."""

from __future__ import annotations

from audits.claims.claim import Claim, ClaimVerdict, Judgement, Kind, no_run_yet
from audits.evidence.ledger import Evidence, Record
from audits.experiments.bench.kernel_check import NAME, ROUNDINGS, SLACK, changes, within
from audits.formatting import Table

INTERPRETER = "Triton's interpreter on a CPU"


def judge(evidence: Evidence) -> Judgement:
    """Every run must be as exact as dense code of its dtype, repeat bit for bit, and depend on nothing later."""
    records = evidence.of(NAME)
    if not records:
        return no_run_yet("the kernels")
    bad = [record for record in records if failures(record)]
    places = sorted({place(record) for record in records})
    agree = f"{len(records) - len(bad)} of {len(records)} runs of the kernels agree with dense code"
    interpreted = places == [INTERPRETER]
    details = f"Run on: {', '.join(places)}."
    if interpreted:
        details += " NOT VERIFIED ON A GPU: no run of a compiled kernel yet."
    if bad:
        details += f" First failure: {bad[0].config}: {'; '.join(failures(bad[0]))}."
    return Judgement(
        ClaimVerdict.REFUTED if bad else ClaimVerdict.SUPPORTED,
        f"{agree}, in Triton's interpreter on a CPU alone." if interpreted else f"{agree}.",
        "A size, dtype or GPU at which a kernel deviates.",
        ours=f"{len(records) - len(bad)} of {len(records)} runs agree",
        evidence=tuple(r.run for r in records),
        tables=(_table(records),),
        details=details,
    )


def failures(record: Record) -> list[str]:
    """What is wrong with a run, in words."""
    result = record.result
    wrong = [name for name, error in result["errors"].items() if not within(error, result["eps"])]
    problems = [f"{name} is less exact than dense code" for name in wrong]
    problems += [] if result["repeats"] else ["two runs differ"]
    return problems + ([f"earlier outputs move by {result['felt_before']:.3g}"] if result["felt_before"] else [])


def place(record: Record) -> str:
    """Where a run was carried out."""
    device = str(record.config["device"])
    return record.environment.get("device", device) if device.startswith("cuda") else INTERPRETER


def _table(records: tuple[Record, ...]) -> Table:
    """The largest error of outputs and gradients, by place, shape and dtype."""
    rows: dict[tuple[str, ...], tuple[float, float]] = {}
    for record in records:
        config = record.config
        sizes = f"n = {config['length']}, width {config['d_model']}, {config['n_heads']} heads, {config['n_hubs']} hubs"
        shape = ", ".join((sizes, *changes(config)))
        worst = max(record.result["errors"].values(), key=lambda error: error["kernel"])
        key = (place(record), shape, str(config["dtype"]))
        rows[key] = max(rows.get(key, (0.0, 0.0)), (worst["kernel"], worst["dense"]))
    body = tuple((*key, f"{kernel:.2g}", f"{dense:.2g}") for key, (kernel, dense) in sorted(rows.items()))
    header = ("where", "shape", "dtype", "kernels", "dense code")
    return Table(
        "Largest error against float64, of outputs and gradients, relative to the largest entry of a module's",
        header,
        body,
    )


CLAIM = Claim(
    id="kernels",
    statement="The Triton kernels compute HubRouter and its gradients, exactly, repeatably and causally.",
    source="our own claim about this project's kernels",
    kind=Kind.SELF_TEST,
    test="Against a dense O(N²) computation in float64 with the same selection: every output and gradient at most "
    f"{SLACK:g} times as far off as dense code of the same dtype, plus {ROUNDINGS:g} roundings; two runs equal bit for "
    "bit; where strictly causal, no output before a cut changes by a bit when later tokens change or are cut off.",
    refuted_by="One run that is less exact, that does not repeat, or whose earlier outputs move.",
    judge=judge,
    needs=(NAME,),
)
