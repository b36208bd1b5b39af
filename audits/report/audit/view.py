"""Reading an audit's result back from the plain values a ledger holds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from audits.results import AuditResult, Finding, LeakClass, ProbeResult, Site, Verdict


def parse_audit(value: Any) -> AuditResult | None:
    """The audit stored as `AuditResult.to_dict()`; None where there is none. Unknown words become UNDETERMINED."""
    if not isinstance(value, Mapping) or "verdict" not in value:
        return None
    return AuditResult(
        target=str(value.get("target", "")),
        verdict=_verdict(value["verdict"]),
        findings=tuple(_finding(item) for item in _mappings(value.get("findings"))),
        probes=tuple(_probe(item) for item in _mappings(value.get("probes"))),
        settings=_settings(value.get("settings")),
        environment=_settings(value.get("environment")),
    )


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    """The mappings of a list; empty where it is none."""
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list | tuple) else []


def _settings(value: Any) -> dict[str, Any]:
    """A mapping with its keys as text; empty where it is none."""
    return {str(key): item for key, item in value.items()} if isinstance(value, Mapping) else {}


def _verdict(word: Any) -> Verdict:
    """A verdict; what is not one must never read as PASS."""
    return Verdict(word) if isinstance(word, str) and word in set(map(str, Verdict)) else Verdict.UNDETERMINED


def _leak_class(word: Any) -> LeakClass:
    """A leak class; what is not one is unknown."""
    return LeakClass(word) if isinstance(word, str) and word in set(map(str, LeakClass)) else LeakClass.UNKNOWN


def _real(value: Any) -> float:
    """A number; absent ones are not a number rather than zero."""
    return float(value) if isinstance(value, int | float) else math.nan


def _optional_text(value: Any) -> str | None:
    """The text, or None."""
    return value if isinstance(value, str) else None


def _optional_int(value: Any) -> int | None:
    """The integer, or None."""
    return value if isinstance(value, int) else None


def _site(value: Any) -> Site:
    """A place in input or output."""
    place = value if isinstance(value, Mapping) else {}
    return Site(_optional_int(place.get("position")), _optional_int(place.get("row")))


def _finding(item: Mapping[str, Any]) -> Finding:
    """One finding."""
    return Finding(
        probe=str(item.get("probe", "")),
        leak_class=_leak_class(item.get("leak_class")),
        source=_site(item.get("source")),
        sink=_site(item.get("sink")),
        effect=_real(item.get("effect")),
        noise_floor=_real(item.get("noise_floor")),
        module=_optional_text(item.get("module")),
        op=_optional_text(item.get("op")),
        file=_optional_text(item.get("file")),
        line=_optional_int(item.get("line")),
        reproduce=str(item.get("reproduce") or ""),
    )


def _probe(item: Mapping[str, Any]) -> ProbeResult:
    """One probe's conclusion."""
    return ProbeResult(
        name=str(item.get("name", "")),
        verdict=_verdict(item.get("verdict")),
        why=str(item.get("why", "")),
        forwards=_optional_int(item.get("forwards")) or 0,
        seconds=_real(item.get("seconds")),
        applicable=bool(item.get("applicable", True)),
    )
