"""survey/<library>-<release>.json: the rows for other programs, versioned (contract)."""

from __future__ import annotations

import msgspec

from audits.jsonable import json_text
from audits.results import SCHEMA
from audits.survey.reviews import Status
from audits.survey.rows import Code, Survey


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One architecture; `leak_class` is that of the first finding, `file` and `line` where a later token gets in."""

    name: str
    model: str
    package: str
    verdict: str
    leak_class: str | None
    file: str | None
    line: int | None
    reason: str
    as_reviewed: bool
    explained: str | None
    status: Status | None
    leak_classes: tuple[str, ...]
    probes: dict[str, str]
    seq_len: int
    seconds: float
    code: Code


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One release of one library: how many have each verdict, and the rows by name."""

    schema: int
    library: str
    release: str
    tally: dict[str, int]
    models: tuple[Entry, ...]


def survey_json(survey: Survey) -> str:
    """The document as text."""
    models = [msgspec.convert(row, Entry, from_attributes=True) for row in survey.rows]
    rounded = tuple(msgspec.structs.replace(entry, seconds=round(entry.seconds, 1)) for entry in models)
    return json_text(msgspec.to_builtins(Document(SCHEMA, survey.library, survey.release, survey.tally, rounded)))
