"""claims.schema.json: what claims.json holds, as JSON Schema (draft 2020-12), for those who read it by program."""

from __future__ import annotations

from typing import Any

from audits.claims.claim import PRINTED, ClaimVerdict
from audits.claims.figures import STYLES
from audits.evidence.experiment import TIERS
from audits.jsonable import json_text
from audits.results import SCHEMA

FILE_NAME = "claims.schema.json"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]
_TEXT: Schema = {"type": "string"}
_YES_OR_NO: Schema = {"type": "boolean"}
_NUMBER: Schema = {"type": ["number", "null"], "description": "null where it is not a number; +-1e308 where infinite"}
_VERDICT: Schema = {"enum": [str(verdict) for verdict in ClaimVerdict]}
_RUN: Schema = {"type": "string", "description": "the address of a run in reports/evidence"}


def _told(schema: Schema, description: str) -> Schema:
    """The schema with what it means."""
    return {**schema, "description": description}


def _list(items: Schema, description: str = "") -> Schema:
    """Any number of items."""
    return {"type": "array", "items": items, **({"description": description} if description else {})}


def _object(properties: Schema) -> Schema:
    """All of these properties and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _provenance() -> Schema:
    return _object(
        {
            "absent": _list(_RUN, "deciding runs that the ledger does not hold"),
            "commits": _list(_TEXT, "checkouts the runs were made in; a + where one had changes"),
            "machines": _list(_TEXT),
            "versions": _list(_TEXT),
            "seconds": {"type": "number", "minimum": 0, "description": "wall time of all deciding runs together"},
            "recorded": _list(_TEXT, "when the first and the last of them were recorded, UTC; empty where unknown"),
        }
    )


def _dots() -> Schema:
    point = _object({"seed": {"type": "integer"}, "value": _NUMBER})
    failed = {"type": "integer", "minimum": 0, "description": "runs without a value (diverged)"}
    column = _object({"label": _TEXT, "style": {"enum": [*STYLES]}, "points": _list(point), "failed": failed})
    return _object(
        {
            "kind": {"const": "dots"},
            "title": _TEXT,
            "y_label": _TEXT,
            "columns": _list(column, "arms; a point for every run"),
            "note": _TEXT,
            "log": _told(_YES_OR_NO, "drawn on a log axis, with geometric means"),
            "joined": _told(_YES_OR_NO, "points of one seed belong together (paired)"),
            "references": _references(),
        }
    )


def _references() -> Schema:
    return _list(_object({"label": _TEXT, "value": _NUMBER}), "values that the others are read against, as chance")


def _curves() -> Schema:
    ends = {"low": _NUMBER, "high": _NUMBER}
    point = _object({"x": _NUMBER, "y": _NUMBER, **ends, "count": _told(_TEXT, 'runs behind the point, such as "4/5"')})
    series = _object({"label": _TEXT, "style": {"enum": [*STYLES]}, "points": _list(point)})
    texts: Schema = dict.fromkeys(("title", "x_label", "y_label"), _TEXT)
    logs: Schema = dict.fromkeys(("log_x", "log_y"), _YES_OR_NO)
    rest: Schema = {"series": _list(series), "note": _TEXT, **logs, "references": _references()}
    return _object({"kind": {"const": "curves"}, **texts, **rest})


def _judgement() -> Schema:
    """A judgement at one tier: the properties that a claim and each of its tiers share."""
    table = _object({"title": _TEXT, "header": _list(_TEXT), "rows": _list(_list(_TEXT))})
    return {
        "tier": _told({"enum": [*TIERS, PRINTED]}, "of the evidence; printed: no run of ours"),
        "verdict": _VERDICT,
        "mark": _told(_TEXT, "the verdict as it is shown"),
        "expected": _told({"enum": [*_VERDICT["enum"], None]}, "the reviewed verdict; null where nobody reviewed it"),
        "as_expected": _told(_YES_OR_NO, "nothing speaks against it; stale and missing evidence does not speak"),
        "gate": _told(_YES_OR_NO, "false where a model that had to be causal was not"),
        "missing": _told(_YES_OR_NO, "no run has been made yet"),
        "stale": _list(_RUN, "deciding runs whose code has changed since"),
        "reason": _TEXT,
        "would_change": _TEXT,
        "limits": _list(_TEXT, "what the verdict does not show"),
        "minimum_detectable_effect": {"type": ["string", "null"]},
        "seeds_needed": {"type": ["integer", "null"]},
        "p": _told(_NUMBER, "the p value that decided; null where no single one did"),
        "evidence": _list(_RUN, "the runs that decided"),
        "provenance": {"$ref": "#/$defs/provenance"},
        "reproduce": _told(_TEXT, "a command line"),
        "figures": _list({"oneOf": [{"$ref": "#/$defs/dots"}, {"$ref": "#/$defs/curves"}]}),
        "tables": _list(table),
    }


def _claim() -> Schema:
    corrected = _object({"p": _NUMBER, "adjusted": _NUMBER, "rejected": _YES_OR_NO})
    published = {"type": "object", "additionalProperties": _TEXT, "description": "printed numbers as printed"}
    return _object(
        {
            "id": _TEXT,
            "statement": _TEXT,
            "source": _TEXT,
            "published": published,
            "test": _told(_TEXT, "fixed before a run was judged"),
            "refuted_by": _TEXT,
            "needs": _list(_TEXT, "experiments that the claim reads"),
            "corrected": {"anyOf": [{"type": "null"}, corrected], "description": "by Holm over the paper's claims"},
            **_judgement(),
            "tiers": {**_list(_object(_judgement())), "minItems": 1, "description": "every tier, highest first"},
        }
    )


def claims_schema() -> Schema:
    """The schema as a document."""
    top = _object({"$schema": {"const": FILE_NAME}, "schema": {"const": SCHEMA}, "claims": _list(_claim())})
    return {
        "$schema": _DIALECT,
        "title": "Verdicts of HubRouter Audit",
        **top,
        "$defs": {"provenance": _provenance(), "dots": _dots(), "curves": _curves()},
    }


def claims_schema_json() -> str:
    """The schema as the file that lies beside claims.json."""
    return json_text(claims_schema())
