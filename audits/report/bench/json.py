"""reports/bench/<machine>.json: what the bench measured on one machine, for other programs, versioned."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from audits.claims.hubrouter._targets import outcomes
from audits.experiments.bench._measured import Bench
from audits.experiments.bench._row import Row, Spread
from audits.jsonable import json_text
from audits.results import SCHEMA

FOLDER = "bench"


def bench_json(bench: Bench) -> str:
    """The document: the machine, what was measured there, and the targets as far as this machine decides them."""
    return json_text(
        {
            "schema": SCHEMA,
            "machine": {"name": bench.machine, **bench.environment, "threads": bench.threads},
            "tier": bench.tier,
            "setting": dict(bench.config),
            "rows": [_row(row) for row in bench.rows],
            "targets": [asdict(outcome) for outcome in outcomes((bench,))],
        }
    )


def _row(row: Row) -> dict[str, Any]:
    """One measurement; what was not run has nulls and the reason. Ratios are medians within the rounds."""
    return {
        "layer": row.layer,
        "impl": row.impl,
        "n": row.n,
        "pass": row.passes,
        "median_ms": None if row.ms is None else row.ms.median,
        "ratio_to_sdpa": None if row.ratio is None else row.ratio.median,
        "peak_bytes": row.peak_bytes,
        "backend": row.backend or None,
        **_ends(row.ms, "low_ms", "high_ms"),
        **_ends(row.ratio, "ratio_low", "ratio_high"),
        "flops": row.flops,
        "bytes": row.bytes,
        "floor_ms": row.floor_ms,
        "floor_set_by": row.bound,
        "matmul_flops_per_s": None if row.ceilings is None else row.ceilings.flops,
        "copy_bytes_per_s": None if row.ceilings is None else row.ceilings.bytes,
        "core_share_of_copy": row.core_share,
        "not_run": row.not_run,
        "run": row.run,
    }


def _ends(spread: Spread | None, low: str, high: str) -> dict[str, float | None]:
    return {low: None, high: None} if spread is None else {low: spread.low, high: spread.high}
