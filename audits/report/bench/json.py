"""reports/bench/<machine>.json: what the bench measured on one machine, for other programs, versioned."""

from __future__ import annotations

from typing import Any

import msgspec

from audits.claims.hubrouter._targets import Outcome, outcomes
from audits.experiments.bench._measured import Bench
from audits.experiments.bench._row import Row
from audits.jsonable import json_text
from audits.results import SCHEMA

FOLDER = "bench"


class Measurement(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename={"passes": "pass"}):
    """One layer at one length; what was not run has nulls and the reason. Ratios are medians within the rounds."""

    layer: str
    impl: str
    n: int
    passes: str
    median_ms: float | None
    ratio_to_sdpa: float | None
    peak_bytes: int | None
    backend: str | None
    low_ms: float | None
    high_ms: float | None
    ratio_low: float | None
    ratio_high: float | None
    flops: float | None
    bytes: float | None
    floor_ms: float | None
    floor_set_by: str | None
    matmul_flops_per_s: float | None
    copy_bytes_per_s: float | None
    ratio_to_projections: float | None
    core_share_of_copy: float | None
    not_run: str | None
    run: str


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The machine, what was measured there, and the targets as far as this machine decides them."""

    schema: int
    machine: dict[str, Any]
    tier: str
    setting: dict[str, Any]
    rows: tuple[Measurement, ...]
    targets: tuple[Outcome, ...]


def bench_json(bench: Bench) -> str:
    """The document as text."""
    machine = {"name": bench.machine, **bench.environment, "threads": bench.threads}
    rows = tuple(map(_measurement, bench.rows))
    document = Document(SCHEMA, machine, bench.tier, dict(bench.config), rows, outcomes((bench,)))
    return json_text(msgspec.to_builtins(document))


def _measurement(row: Row) -> Measurement:
    ms, ratio, ceilings = row.ms, row.ratio, row.ceilings
    return Measurement(
        layer=row.layer,
        impl=row.impl,
        n=row.n,
        passes=row.passes,
        median_ms=ms.median if ms else None,
        ratio_to_sdpa=ratio.median if ratio else None,
        peak_bytes=row.peak_bytes,
        backend=row.backend or None,
        low_ms=ms.low if ms else None,
        high_ms=ms.high if ms else None,
        ratio_low=ratio.low if ratio else None,
        ratio_high=ratio.high if ratio else None,
        flops=row.flops,
        bytes=row.bytes,
        floor_ms=row.floor_ms,
        floor_set_by=row.bound,
        matmul_flops_per_s=ceilings.flops if ceilings else None,
        copy_bytes_per_s=ceilings.bytes if ceilings else None,
        ratio_to_projections=row.to_projections.median if row.to_projections else None,
        core_share_of_copy=row.core_share,
        not_run=row.not_run,
        run=row.run,
    )
