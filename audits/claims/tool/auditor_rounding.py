"""Our own claim about this tool: rounding does not pass for a leak, nor a leak for rounding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from audits.claims.claim import Claim, ClaimVerdict, Judgement, Kind, no_run_yet
from audits.evidence.ledger import Evidence, Record
from audits.experiments.auditor.rounding_rule import NAME, SIZES
from audits.formatting import Table
from audits.results import Verdict
from audits.statistics.counts import Counts, rate_interval

ALARMS = 0.005  # of causal models that round heavily: called leaky in fewer
FOUND = 0.95  # of leaks of the largest size: found in more
Key = tuple[str, str, float]  # model, kind of leak, its size; 0 is none


def judge(evidence: Evidence) -> Judgement:
    """Both rates must be known to lie on their side of the bound; one known to lie on the other refutes."""
    records = evidence.of(NAME)
    drawn = verdicts(records)
    if not {0.0, *SIZES} <= {size for _, _, size in drawn}:
        return no_run_yet(NAME)
    causal, leaky = counted(drawn, 0.0), counted(drawn, max(SIZES))
    alarms, found = rate_interval(causal), rate_interval(leaky)
    base = Judgement(
        ClaimVerdict.SUPPORTED,
        f"At most {alarms.high:.2%} of causal models are called leaky; at least {found.low:.0%} of leaks are found.",
        "A causal model whose rounding the rule takes for a leak, or a leak that it takes for rounding.",
        evidence=tuple(record.run for record in records),
        tables=(_by_size(drawn), _by_model(drawn)),
        ours=f"{causal} called leaky; {leaky} found",
        details="Models that round heavily, without a leak and with one of the future, the length or the stream, by "
        f"verdict. Leaks of {min(SIZES):g} lie near the rounding of float64, and nothing is claimed of them. The rule "
        "and its derivation: docs/rounding.md.",
    )
    if alarms.low > ALARMS or found.high < FOUND:
        reason = f"{causal} causal models are called leaky, and {leaky} leaks are found."
        return replace(base, verdict=ClaimVerdict.REFUTED, reason=reason, gate=False)
    if alarms.high > ALARMS or found.low < FOUND:
        open_rates = [f"a rate below {ALARMS:.1%}"] * (alarms.high > ALARMS) + [f"{FOUND:.0%} found"] * (
            found.low < FOUND
        )
        reason = f"{causal} causal models are called leaky, {leaky} leaks found: not shown: {' and '.join(open_rates)}."
        return replace(
            base,
            verdict=ClaimVerdict.INCONCLUSIVE,
            reason=reason,
            minimum_detectable_effect=f"a rate of {alarms.high:.1%}",
        )
    return base


def verdicts(records: Iterable[Record]) -> dict[Key, Counter[str]]:
    """How often each model, leaky or not, was given which verdict."""
    drawn: dict[Key, Counter[str]] = {}
    for record in records:
        key = (record.config["model"], record.config["kind"], float(record.config["size"]))
        drawn.setdefault(key, Counter()).update(record.result["verdicts"])
    return drawn


def counted(drawn: dict[Key, Counter[str]], wanted: float, verdict: Verdict = Verdict.LEAK) -> Counts:
    """How many of the draws with leaks of this size were given this verdict."""
    chosen = [given for (_, _, size), given in drawn.items() if size == wanted]
    return Counts(sum(given[verdict] for given in chosen), sum(given.total() for given in chosen))


def _by_size(drawn: dict[Key, Counter[str]]) -> Table:
    rows = []
    for size in (0.0, *SIZES):
        counts, passed = counted(drawn, size), counted(drawn, size, Verdict.PASS).successes
        interval = rate_interval(counts)
        row = (f"{size:g}" if size else "none", str(counts.trials), str(counts.successes), str(passed))
        rows.append((*row, f"{interval.low:.2%} to {interval.high:.2%}"))
    header = ("size of the leak", "draws", "LEAK", "PASS", "rate of LEAK (95 % interval)")
    return Table("The rounding rule over models that round heavily", header, tuple(rows))


def _by_model(drawn: dict[Key, Counter[str]]) -> Table:
    rows = []
    for model, kind in dict.fromkeys((model, kind) for model, kind, size in drawn if size):
        sizes = [drawn.get((model, kind, size), Counter()) for size in SIZES]
        clean = Counter[str]()
        for (name, _, size), counts in drawn.items():
            clean += counts if name == model and not size else Counter()
        rows.append((model, kind, *(f"{c[Verdict.LEAK]} of {c.total()}" for c in (clean, *sizes))))
    header = ("model", "leak of", "LEAK without one", *(f"LEAK at {size:g}" for size in SIZES))
    return Table("By model and kind of leak", header, tuple(rows))


CLAIM = Claim(
    id="auditor-rounding",
    statement="The auditor tells rounding from leaks: neither passes for the other.",
    source="our own claim about this tool",
    kind=Kind.SELF_TEST,
    test="Eleven causal models that round heavily, with drawn weights and inputs, without a leak and with one of "
    f"{', '.join(f'{size:g}' for size in SIZES)} of the output. SUPPORTED if the 95 % interval of the share of causal "
    f"draws called leaky lies below {ALARMS:.1%}, and of leaks of {max(SIZES):g} found above {FOUND:.0%}.",
    refuted_by="An interval on the other side of its bound.",
    judge=judge,
    needs=(NAME,),
)
