"""Attack on the companion paper: some of its failures, and its memory banks, are the exact level of chance."""

from audits.claims.claim import Claim, ClaimVerdict, Judgement, Kind
from audits.claims.routing._runs import CHANCE, chance_of
from audits.evidence.ledger import Evidence
from audits.formatting import Table
from hubrouter.diagnostic.scores import normalised

PRINTED = (
    ("segment routing, unidirectional", 0.238, 16, 4),
    ("segment routing, bidirectional", 0.256, 16, 4),
    ("MQAR, raw embeddings", 0.256, 16, 4),
    ("MQAR, unidirectional Flow", 0.242, 16, 4),
    ("memory banks", 0.12, 16, 2),
    ("distant evidence, raw embeddings", 0.012, 512, 8),
)


def rule(printed: tuple[tuple[str, float, int, int], ...]) -> Judgement:
    """By printed numbers (row, precision, units, picked) alone."""
    values = [normalised(found, chance_of(units, picked)) for _, found, units, picked in printed]
    succeeds = max(values) <= CHANCE
    return Judgement(
        ClaimVerdict.SUPPORTED if succeeds else ClaimVerdict.REFUTED,
        "All printed numbers are what 4 of 16, 2 of 16 and 8 of 512 units picked blindly give."
        if succeeds
        else f"A printed number lies {max(values):.2f} of the way from chance to always.",
        "The paper's number of units picked, which it does not print: 4 of 16 is our reading.",
        ours=f"{min(values):+.3f} to {max(values):+.3f} beyond chance",
        details=f"Normalised by exact chance the printed numbers lie between {min(values):+.3f} and "
        f"{max(values):+.3f}, where 0 is chance and 1 is always.",
        tables=(_table(printed, values),),
    )


def _table(printed: tuple[tuple[str, float, int, int], ...], values: list[float]) -> Table:
    rows = tuple(
        (name, f"{100 * found:.1f}", f"{picked} of {units}", f"{100 * chance_of(units, picked):.1f}", f"{value:+.3f}")
        for (name, found, units, picked), value in zip(printed, values, strict=True)
    )
    return Table(
        "Printed precision against exact chance", ("row", "printed, %", "picked", "chance, %", "normalised"), rows
    )


def judge(_: Evidence) -> Judgement:
    """No run decides."""
    return rule(PRINTED)


CLAIM = Claim(
    id="attack-routing-chance",
    statement="The numbers of segments, of failures on MQAR and of memory banks are exact chance.",
    source="our attack on arXiv:2603.20997, which prints these numbers next to precisions with a chance of 1.6 %",
    kind=Kind.ATTACK,
    test=f"The printed numbers normalised by the exact chance of the units picked (4 of 16, 2 of 16): SUPPORTED if "
    f"none exceeds {CHANCE}, REFUTED otherwise.",
    refuted_by="A normalised value well above 0.",
    judge=judge,
    published={"segment routing": "23.8, 25.6 %", "MQAR": "25.6, 24.2 %", "memory banks": "12 %"},
)
