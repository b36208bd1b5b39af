"""claims.json and claims/<id>.json as types: what the files hold, their reading, and their JSON Schemas."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from audits.claims.claim import PRINTED, ClaimVerdict, Kind, Scope
from audits.claims.figures import Figure
from audits.claims.provenance import Origin
from audits.evidence.experiment import TIERS
from audits.formatting import Table
from audits.jsonable import json_text
from audits.statistics.multiplicity import Adjusted

INDEX_SCHEMA: Final = "claims.schema.json"  # beside claims.json
PAGE_SCHEMA: Final = "../claim.schema.json"  # as the files in claims/ see it
_DIALECT = "https://json-schema.org/draft/2020-12/schema"

Run = Annotated[str, Meta(description="the address of a run in reports/evidence")]
Tier = Annotated[str, Meta(extra_json_schema={"enum": [*TIERS, PRINTED]})]


class Exact(Struct, frozen=True, forbid_unknown_fields=True):
    """All of its properties and no others."""


class Verdict(Exact, frozen=True, kw_only=True):
    """A verdict at one tier of evidence; tier "printed" has no run of ours.

    `outcome` is the word that people read. `expected` is the reviewed verdict, null where nobody reviewed it.
    `as_expected` is true where nothing contradicts it; stale and missing evidence does not. `gate` is false where a
    model that had to be causal was not. `missing` is true where no run has been made yet. `ours` is our number, with
    interval and seeds, in words.
    """

    tier: Tier
    verdict: ClaimVerdict
    outcome: str
    expected: ClaimVerdict | None
    as_expected: bool
    gate: bool
    missing: bool
    scope: Scope
    reason: Annotated[str, Meta(description="one sentence")]
    ours: str
    would_change: str
    minimum_detectable_effect: str | None
    seeds_needed: int | None


class Decided(Verdict, frozen=True, kw_only=True):
    """The same with the runs: `evidence` are all that decided, `stale` those whose code has changed since."""

    evidence: tuple[Run, ...]
    stale: tuple[Run, ...]


class Judged(Decided, frozen=True, kw_only=True):
    """The same with everything behind it; `p` is the p value that decided, null where no single one did."""

    details: Annotated[str, Meta(description="the numbers and conditions behind the reason")]
    limits: Annotated[tuple[str, ...], Meta(description="what the verdict does not show")]
    p: float | None
    provenance: Origin
    reproduce: Annotated[str, Meta(description="a command line")]
    figures: tuple[Figure, ...]
    tables: tuple[Table, ...]


class Entry(Decided, frozen=True, kw_only=True):
    """A claim with the verdict at its highest tier, then those at lower tiers that have evidence of their own.

    `page` is the path of the file with figures, tables, the values of every seed and the runs of every tier.
    """

    id: str
    kind: Annotated[Kind, Meta(description="SUPPORTED means of an attack that it succeeded")]
    statement: str
    source: str
    published: Annotated[dict[str, str], Meta(description="printed numbers as printed")]
    page: str
    lower_tiers: tuple[Verdict, ...]


class Index(Exact, frozen=True):
    """Every claim and its verdict; a number is null where it is not a number, and +-1e308 where it is infinite."""

    schema_file: Literal["claims.schema.json"] = msgspec.field(name="$schema")
    schema: Literal[1]
    claims: tuple[Entry, ...]


class Page(Exact, frozen=True, kw_only=True):
    """What was published, the test fixed before a run was judged, and the judgement at every tier, highest first."""

    schema_file: Literal["../claim.schema.json"] = msgspec.field(name="$schema")
    schema: Literal[1]
    id: str
    kind: Annotated[Kind, Meta(description="SUPPORTED means of an attack that it succeeded")]
    statement: str
    source: str
    published: Annotated[dict[str, str], Meta(description="printed numbers as printed")]
    corrected: Annotated[Adjusted | None, Meta(description="by Holm over the paper's claims")]
    test: str
    refuted_by: str
    needs: Annotated[tuple[str, ...], Meta(description="experiments that the claim reads")]
    tiers: Annotated[tuple[Judged, ...], Meta(min_length=1)]


def schema_files() -> dict[str, str]:
    """The JSON Schemas (draft 2020-12) of both files, by file name."""
    kinds = {INDEX_SCHEMA: Index, PAGE_SCHEMA.removeprefix("../"): Page}
    return {
        name: json_text({"$schema": _DIALECT, **_nullable(msgspec.json.schema(kind))}) for name, kind in kinds.items()
    }


def _nullable(schema: Any) -> Any:
    """The schema with null among the numbers: JSON has no other word for what is not a number."""
    if isinstance(schema, list):
        return [_nullable(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    numbers = {"type": ["number", "null"]} if schema.get("type") == "number" else {}
    return {key: _nullable(value) for key, value in schema.items()} | numbers
