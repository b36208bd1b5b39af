"""claims.json as types: what the file holds, its reading, and its JSON Schema (draft 2020-12) come from these alone."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from audits.claims.claim import PRINTED, ClaimVerdict, Kind, Scope
from audits.claims.figures import Curves, Reference, Style
from audits.claims.provenance import Origin
from audits.evidence.experiment import TIERS
from audits.formatting import Table
from audits.jsonable import json_text
from audits.statistics.multiplicity import Adjusted

FILE_NAME: Final = "claims.schema.json"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"

Run = Annotated[str, Meta(description="the address of a run in reports/evidence")]


class Exact(Struct, frozen=True, forbid_unknown_fields=True):
    """All of its properties and no others."""


class DotPoint(Exact, frozen=True):
    """The value of one run."""

    seed: int
    value: float


class Column(Exact, frozen=True):
    """An arm: a point for every run; `failed` counts the runs without a value (diverged)."""

    label: str
    style: Style
    points: tuple[DotPoint, ...]
    failed: Annotated[int, Meta(ge=0)]


class Dots(Exact, frozen=True, tag_field="kind", tag="dots"):
    """Arms side by side; `log` has a log axis and geometric means, `joined` pairs the points of one seed."""

    title: str
    y_label: str
    columns: tuple[Column, ...]
    note: str
    log: bool
    joined: bool
    references: tuple[Reference, ...]


class Judged(Exact, frozen=True, kw_only=True):
    """A judgement at one tier of evidence; tier "printed" has no run of ours.

    `expected` is the reviewed verdict, null where nobody reviewed it. `as_expected` is true where nothing
    contradicts it; stale and missing evidence does not. `gate` is false where a model that had to be causal was not.
    `missing` is true where no run has been made yet. `stale` are deciding runs whose code has changed since, `evidence`
    all that decided. `p` is the p value that decided, null where no single one did. `reproduce` is a command line.
    """

    tier: Annotated[str, Meta(extra_json_schema={"enum": [*TIERS, PRINTED]})]
    verdict: ClaimVerdict
    mark: Annotated[str, Meta(description="the verdict as it is shown")]
    expected: ClaimVerdict | None
    as_expected: bool
    gate: bool
    missing: bool
    stale: tuple[Run, ...]
    scope: Scope
    reason: Annotated[str, Meta(description="one sentence")]
    details: Annotated[str, Meta(description="the numbers and conditions behind the reason")]
    would_change: str
    limits: Annotated[tuple[str, ...], Meta(description="what the verdict does not show")]
    minimum_detectable_effect: str | None
    seeds_needed: int | None
    p: float | None
    evidence: tuple[Run, ...]
    provenance: Origin
    reproduce: str
    figures: tuple[Dots | Curves, ...]
    tables: tuple[Table, ...]


class _AtEveryTier(Judged, frozen=True, kw_only=True):
    tiers: Annotated[tuple[Judged, ...], Meta(min_length=1, description="every tier, highest first")]


class Claim(_AtEveryTier, frozen=True):
    """What was published and the test fixed before a run was judged, then the judgement that is shown first."""

    id: str
    kind: Annotated[Kind, Meta(description="SUPPORTED means of an attack that it succeeded")]
    statement: str
    source: str
    published: Annotated[dict[str, str], Meta(description="printed numbers as printed")]
    corrected: Annotated[Adjusted | None, Meta(description="by Holm over the paper's claims")]
    test: str
    refuted_by: str
    needs: Annotated[tuple[str, ...], Meta(description="experiments that the claim reads")]


class Document(Exact, frozen=True):
    """Verdicts of HubRouter Audit; a number is null where it is not a number, and +-1e308 where it is infinite."""

    schema_file: Literal["claims.schema.json"] = msgspec.field(name="$schema")
    schema: Literal[1]
    claims: tuple[Claim, ...]


def claims_schema() -> dict[str, Any]:
    """The schema of claims.json."""
    schema: dict[str, Any] = _nullable(msgspec.json.schema(Document))
    return {"$schema": _DIALECT, **schema}


def _nullable(schema: Any) -> Any:
    """The schema with null among the numbers: JSON has no other word for what is not a number."""
    if isinstance(schema, list):
        return [_nullable(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    numbers = {"type": ["number", "null"]} if schema.get("type") == "number" else {}
    return {key: _nullable(value) for key, value in schema.items()} | numbers


def claims_schema_json() -> str:
    """The schema as the file that lies next to claims.json."""
    return json_text(claims_schema())
