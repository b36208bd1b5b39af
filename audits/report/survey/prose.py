"""Texts that the tables of a survey share."""

from __future__ import annotations

from collections import Counter

from audits.survey.fixups import WINDOW
from audits.survey.rows import Code, Row, Survey

HEADER = ("verdict", "architecture", "class of leak", "location", "reviewed", "code", "what was found")
METHOD = (
    "Every architecture that the library registers for causal language modelling is built from its configuration at a "
    "tiny size, one layer of each kind and at least two, with random weights and without a download, and audited by "
    "all probes.",
    f"Windows, chunks and blocks are shrunk to {WINDOW} positions or fewer, so that the sequence crosses them several "
    "times. Names with a + are variants: the setting after the + is switched to the value that makes the architecture "
    "a causal one.",
    "A PASS says that no probe found a leak in this configuration, at this length, with these weights; it proves "
    "nothing about others. UNDETERMINED and NOT BUILT are not a PASS.",
)


def title(survey: Survey) -> str:
    """The library and its release."""
    return f"Survey of {survey.library} {survey.release}"


def tally_sentence(survey: Survey) -> str:
    """How many of each verdict, in one sentence."""
    parts = ", ".join(f"{number} {verdict.replace('_', ' ')}" for verdict, number in survey.tally.items() if number)
    return f"{len(survey.rows)} architectures and variants: {parts}."


def review_sentence(survey: Survey) -> str:
    """Whether everything that is not a PASS has been explained."""
    open_rows = [row.name for row in survey.rows if not row.as_reviewed]
    if not open_rows:
        return "Every verdict other than PASS has been examined and explained."
    return f"{len(open_rows)} not explained yet: {', '.join(open_rows)}."


def code_sentence(survey: Survey) -> str:
    """By which code the rows were made, as far as their records name it."""
    made = Counter(row.code for row in survey.rows)
    counts = "; ".join(f"{code}: {made[code]}" for code in Code)
    return f"Code that made the rows: {counts}" + (" (no hash of it on record)." if made[Code.UNKNOWN] else ".")


def fed_sentence(survey: Survey) -> str:
    """How long the sequences were."""
    lengths = sorted({row.seq_len for row in survey.rows})
    return f"Tokens a sequence: {', '.join(map(str, lengths))}."


def reviewed_text(row: Row) -> str:
    """The explanation, or that there is none."""
    if row.review:
        return f"explained: {row.review.reason}"
    return "" if row.as_reviewed else "unexplained"
