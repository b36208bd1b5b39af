"""Claim `chunk-size`: a claim of no effect, printed without numbers."""

from __future__ import annotations

from audits.claim import Claim, ClaimVerdict, Judgement, Table
from audits.claims._paper import ALPHA, HUB_GPT, JAMBA, POWER, PRINTED_ALONE, SOURCE, percent
from audits.ledger import Evidence
from audits.statistics import Reading, margin_with_power, pooled_sd, smallest_margin

SEEDS = (3, 5, 10)


def borrowed_sd(reading: Reading) -> float:
    """The SD (PPL) pooled over Hub-GPT and Jamba, the only seed noise the abstract prints."""
    return pooled_sd(HUB_GPT.read_as(reading), JAMBA.read_as(reading))


def margins() -> Table:
    """The equivalence margins within reach, by seeds an arm and reading of "±"."""
    rows = tuple(_row(reading, n) for reading in Reading for n in SEEDS)
    return Table(
        "Margins within which two chunk sizes could be shown equal (TOST, SD BORROWED from Hub-GPT and Jamba)",
        ("± read as", "SD, PPL", "seeds an arm", "at best, PPL", f"with {percent(POWER)} power, PPL"),
        rows,
    )


def _row(reading: Reading, n: int) -> tuple[str, ...]:
    sd = borrowed_sd(reading)
    best, likely = smallest_margin(sd, n, ALPHA), margin_with_power(sd, n, ALPHA, POWER)
    return (reading.value, f"{sd:.2f}", str(n), f"±{best:.2f}", f"±{likely:.2f}")


def judge(_evidence: Evidence) -> Judgement:
    """Judge from the printed numbers, of which there are none: only what could be proved is computed."""
    sd = borrowed_sd(Reading.SD)
    reach = ", ".join(f"±{smallest_margin(sd, n, ALPHA):.2f} at {n}" for n in SEEDS)
    return Judgement(
        ClaimVerdict.NOT_TESTABLE,
        f'The abstract prints no numbers for any chunk size, and "little effect" has no margin. With the seed SD '
        f"printed elsewhere ({sd:.2f} PPL, borrowed) the smallest margins that can be proved are {reach} seeds an arm, "
        f"in PPL. {PRINTED_ALONE}",
        "Perplexities by chunk size and seed, before and after the fix, and a margin named beforehand; the two "
        "halves of the claim are an equivalence test after the fix and a difference of gains between before and after.",
        tables=(margins(),),
    )


CLAIM = Claim(
    id="chunk-size",
    statement="After the council fix the chunk size C has little effect; the benefit seen before it was an artefact of "
    "the bidirectional-council leak.",
    source=SOURCE,
    test=f"After the fix: two one-sided tests (TOST) at alpha {ALPHA} within a margin named beforehand. Before: the "
    "gain over C of the leaky model minus that of the fixed one, paired by seed, above zero. Without numbers: "
    "NOT_TESTABLE.",
    refuted_by="A difference between chunk sizes beyond the margin after the fix, or equal gains before and after it.",
    judge=judge,
)
