"""Claim `routing-bm25`: a classical ranking by words retrieves supporting segments."""

from audits.claims.claim import Claim, ClaimVerdict, Judgement, no_run_yet
from audits.claims.routing._runs import SOURCE
from audits.claims.routing._runs import chance_of as segments_chance
from audits.evidence.ledger import Evidence
from audits.experiments.routing.retrieval import NAME, SMALL
from audits.formatting import Table, percent
from audits.statistics.counts import Counts, rate_interval
from audits.statistics.summary import Interval
from hubrouter.diagnostic.tasks.hotpot import PICKED, SEGMENTS

PUBLISHED = 0.827


def chance_of(supporting: int) -> float:
    """The chance that segments picked at random hold one of so many supporting ones."""
    return segments_chance(SEGMENTS, PICKED, supporting)


def judge(evidence: Evidence) -> Judgement:
    """Decided by HotpotQA alone; of invented questions the share of answers is shown."""
    records = sorted(evidence.of(NAME), key=lambda record: record.config["questions"] == SMALL)
    if not records:
        return no_run_yet("BM25 on the small set")
    first, result = records[0], records[0].result
    counts, chance = Counts(sum(result["found"]), len(result["found"])), float(result["chance"])
    interval = rate_interval(counts)
    verdict, reason = (
        ClaimVerdict.NOT_TESTABLE,
        (f"Our {counts.trials} invented questions are not HotpotQA, and the published data are not at hand."),
    )
    if first.config["questions"] != SMALL:
        verdict = decide(interval, chance)
        reason = f"On the given file BM25 finds a supporting sentence in {percent(counts.successes / counts.trials)}."
    return Judgement(
        verdict,
        reason,
        "HotpotQA: `hubrouter-audit claims --only routing-bm25 --hotpot FILE`; or the paper's way of cutting segments.",
        ours=f"{percent(counts.successes / counts.trials)} of {counts.trials} invented questions",
        minimum_detectable_effect=f"{percent((interval.high - interval.low) / 2)} ({counts.trials} questions, 95 %)",
        details=f"BM25 finds a supporting sentence in {counts} questions (95 % interval "
        f"{percent(interval.low)} to {percent(interval.high)}), where two of {SEGMENTS} segments at random do in "
        f"{percent(chance)}. The printed 12.5 % is the chance of one supporting segment; a question of HotpotQA needs "
        f"two paragraphs, and with two supporting segments chance is {100 * chance_of(2):.1f} %.",
        evidence=tuple(record.run for record in records),
        tables=(_chances(),),
    )


def decide(interval: Interval, chance: float) -> ClaimVerdict:
    """As printed, or no better than chance; what lies between may come from how segments are cut, which is ours."""
    if interval.low <= PUBLISHED <= interval.high:
        return ClaimVerdict.SUPPORTED
    return ClaimVerdict.REFUTED if interval.high <= chance else ClaimVerdict.INCONCLUSIVE


def _chances() -> Table:
    rows = tuple((str(n), f"{100 * chance_of(n):.1f} %") for n in range(1, 5))
    return Table(f"Exact chance of {PICKED} of {SEGMENTS} segments", ("supporting segments", "chance"), rows)


CLAIM = Claim(
    id="routing-bm25",
    statement="BM25 retrieves a supporting sentence in 82.7 % of HotpotQA's questions.",
    source=SOURCE,
    test="Two of 16 segments by BM25 (library bm25s) on a small set of HotpotQA's form that comes with the code; exact "
    "95 % interval of the share of questions with a supporting sentence, against exact chance. It decides nothing: "
    "the claim is about HotpotQA, which `--hotpot FILE` reads; there SUPPORTED if the interval holds 82.7 %.",
    refuted_by="On HotpotQA, an interval at or below chance.",
    judge=judge,
    published={"BM25": "82.7 %", "random": "12.5 %"},
    needs=(NAME,),
)
