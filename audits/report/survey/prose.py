"""The words that the tables of a survey share."""

from __future__ import annotations

from audits.survey.fixups import WINDOW
from audits.survey.rows import Row, Survey

HEADER = ("verdict", "architecture", "class of leak", "place", "reviewed", "what was seen")
METHOD = (
    "Every architecture that the library registers for causal language modelling is built from its configuration at a "
    "tiny size, one layer of each kind and at least two, with random weights and without a download, and audited by "
    "the whole battery of probes.",
    f"Windows, chunks and blocks are shrunk to {WINDOW} positions or fewer, so that the sequence crosses them several "
    "times. Names with a + are variants: the setting after the + is switched to the value that makes the architecture "
    "a causal one.",
    "A PASS says that no probe saw a leak in this configuration, at this length, with these weights; it proves nothing "
    "about others. UNDETERMINED and NOT BUILT are not a PASS.",
)


def title(survey: Survey) -> str:
    """The library and its release."""
    return f"Survey of {survey.library} {survey.release}"


def tally_sentence(survey: Survey) -> str:
    """How many of each verdict, in one sentence."""
    parts = ", ".join(f"{number} {verdict.replace('_', ' ')}" for verdict, number in survey.tally().items() if number)
    return f"{len(survey.rows)} architectures and variants: {parts}."


def review_sentence(survey: Survey) -> str:
    """Whether everything that is not a PASS has been explained."""
    open_rows = [row.name for row in survey.rows if not row.as_reviewed]
    if not open_rows:
        return "Every verdict other than PASS has been examined and explained."
    return f"{len(open_rows)} not explained yet: {', '.join(open_rows)}."


def fed_sentence(survey: Survey) -> str:
    """How long the sequences were."""
    lengths = sorted({row.seq_len for row in survey.rows})
    return f"Tokens a sequence: {', '.join(map(str, lengths))}."


def reviewed_text(row: Row) -> str:
    """The explanation, or that there is none."""
    if row.review:
        return f"explained: {row.review.reason}"
    return "" if row.as_reviewed else "unexplained"
