"""Texts that the tables of a survey share."""

from __future__ import annotations

from collections import Counter

from audits.survey.fixups import WINDOW
from audits.survey.rows import LEAK, Code, Row, Survey

HEADER = ("verdict", "architecture", "class of leak", "location", "reviewed", "code", "what was found")
METHOD = (
    "Every architecture is built at a tiny size, one layer of each kind and at least two, with random weights and no "
    "download of any, and audited by all probes. Of transformers it is all that is registered for causal language "
    "modelling. Of other packages it is what `packages.toml` lists, each from a pinned installation of its own.",
    f"Windows, chunks and blocks are shrunk to {WINDOW} positions or fewer, so that the sequence crosses them several "
    "times. Names with a + are variants: a setting makes the architecture a causal one, or changes what it reads.",
    "A PASS says that no probe found a leak in this configuration, at this length, with these weights; it proves "
    "nothing about others. UNDETERMINED and NOT BUILT are not a PASS.",
    "A leak by design is what the architecture or the setting is made for, such as reading both ways; a defect "
    "is what it is not made for; fixed is a defect that a later release has mended.",
)


def title(survey: Survey) -> str:
    """The library and its release."""
    return f"Survey of {survey.library} {survey.release}"


def tally_sentence(survey: Survey) -> str:
    """How many of each verdict, and of the leaks how many of each status, in one sentence."""
    parts = [f"{number} {verdict.replace('_', ' ')}" for verdict, number in survey.tally.items() if number]
    if survey.tally[LEAK]:
        unexplained = survey.tally[LEAK] - sum(survey.leaks.values())
        kinds = [f"{number} {status}" for status, number in survey.leaks.items()]
        parts[0] += f" ({', '.join([*kinds, *([f'{unexplained} unexplained'] if unexplained else [])])})"
    return f"{len(survey.rows)} architectures and variants: {', '.join(parts)}."


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


def model_text(row: Row) -> str:
    """The class, and the package that it comes from where there are several."""
    return f"{row.model} ({row.package})" if row.package else row.model


def reviewed_text(row: Row) -> str:
    """The explanation, or that there is none."""
    if row.review:
        return f"{row.review.status}: {row.review.reason}"
    return "" if row.as_reviewed else "unexplained"
