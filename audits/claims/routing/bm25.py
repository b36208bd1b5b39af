"""Claim `routing-bm25`: a classical ranking by words retrieves supporting segments."""

from audits.claims.claim import Claim, ClaimVerdict, Judgement, no_run_yet
from audits.claims.routing._runs import SOURCE
from audits.claims.routing._runs import chance_of as segments_chance
from audits.evidence.ledger import Evidence
from audits.experiments.routing.retrieval import NAME
from audits.formatting import Table, percent
from audits.statistics.counts import Counts, rate_interval
from hubrouter.diagnostic.tasks.hotpot import PICKED, SEGMENTS

PUBLISHED = 0.827


def chance_of(supporting: int) -> float:
    """The chance that segments picked at random hold one of so many supporting ones."""
    return segments_chance(SEGMENTS, PICKED, supporting)


def judge(evidence: Evidence) -> Judgement:
    """Not decided by invented questions, whose share of answers is shown."""
    records = evidence.of(NAME)
    if not records:
        return no_run_yet("BM25 on the small set")
    result = records[-1].result
    counts, chance = Counts(sum(result["found"]), len(result["found"])), float(result["chance"])
    interval = rate_interval(counts)
    return Judgement(
        ClaimVerdict.NOT_TESTABLE,
        f"Our {counts.trials} invented questions are not HotpotQA, and the published data are not at hand.",
        "HotpotQA itself, which `hubrouter.diagnostic.tasks.hotpot.load` reads and `bm25_scores` ranks.",
        details=f"BM25 finds a supporting sentence in {counts} questions of our small set (95 % interval "
        f"{percent(interval.low)} to {percent(interval.high)}), where two of {SEGMENTS} segments at random do in "
        f"{percent(chance)}. The printed 12.5 % is the chance of one supporting segment; a question of HotpotQA needs "
        f"two paragraphs, and with two supporting segments chance is {100 * chance_of(2):.1f} %.",
        evidence=tuple(record.run for record in records),
        tables=(_chances(),),
    )


def _chances() -> Table:
    rows = tuple((str(n), f"{100 * chance_of(n):.1f} %") for n in range(1, 5))
    return Table(f"Exact chance of {PICKED} of {SEGMENTS} segments", ("supporting segments", "chance"), rows)


CLAIM = Claim(
    id="routing-bm25",
    statement="BM25 retrieves a supporting sentence in 82.7 % of HotpotQA's questions, far above chance.",
    source=SOURCE,
    test="Two of 16 segments by BM25 (library bm25s) on a small set of HotpotQA's form that comes with the code; exact "
    "95 % interval of the share of questions with a supporting sentence, against exact chance. It decides nothing: the "
    "claim is about HotpotQA.",
    refuted_by="On HotpotQA, an interval at or below chance.",
    judge=judge,
    published={"BM25": "82.7 %", "random": "12.5 %"},
    needs=(NAME,),
)
