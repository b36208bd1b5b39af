"""The bench as a page, targets first, and as reports/bench/<machine>.json for other programs, versioned."""

from __future__ import annotations

from dataclasses import asdict

from audits.claims.hubrouter import _bench_tables as tables
from audits.claims.hubrouter._bench_figures import time_curves
from audits.claims.hubrouter._targets import outcomes, target_table
from audits.claims.judged import Report
from audits.experiments.bench._measured import Bench, benches
from audits.jsonable import fields, json_text
from audits.report.render.document import Document, Section, figure_picture
from audits.report.render.words import TIMING_NOTE
from audits.results import SCHEMA

FOLDER = "bench"
# What the JSON holds of a layer at a length; what was not run has nulls and the reason. Ratios are within the rounds.
_FIELDS = {
    "layer": "layer", "impl": "impl", "n": "n", "pass": "passes",
    "median_ms": "ms.median", "ratio_to_sdpa": "ratio.median", "peak_bytes": "peak_bytes", "backend": "backend",
    "low_ms": "ms.low", "high_ms": "ms.high", "ratio_low": "ratio.low", "ratio_high": "ratio.high",
    "flops": "flops", "bytes": "bytes", "floor_ms": "floor_ms", "floor_set_by": "bound",
    "matmul_flops_per_s": "ceilings.flops", "copy_bytes_per_s": "ceilings.bytes",
    "ratio_to_projections": "to_projections.median", "core_share_of_copy": "core_share",
    "not_run": "not_run", "run": "run",
}  # fmt: skip


def bench_json(bench: Bench) -> str:
    """One machine: what was measured there, and the targets as far as it decides them."""
    return json_text({
        "schema": SCHEMA,
        "machine": {"name": bench.machine, **bench.environment, "threads": bench.threads},
        "tier": bench.tier,
        "setting": bench.config,
        "rows": [{name: None if at == "" else at for name, at in fields(row, _FIELDS).items()} for row in bench.rows],
        "targets": [asdict(outcome) for outcome in outcomes((bench,))],
    })  # fmt: skip


def bench_document(report: Report) -> Document:
    """What was reached, and all measurements."""
    found = benches(report.evidence)
    lead = (tables.HOW if found else tables.NOTHING, tables.gpu_sentence(found))
    head = Section("Targets and outcomes", tables=(target_table(found), *tables.start_up_tables(report)))
    sections = (head, *(_machine(report, bench) for bench in found))
    return Document("bench", tables.HEADING, tuple(filter(None, lead)), sections)


def _machine(report: Report, bench: Bench) -> Section:
    """Ratios open, the rest folded away."""
    text = (TIMING_NOTE, tables.stale_sentence(report, bench), tables.missing_sentence(bench))
    curves = enumerate(time_curves(bench), 1)
    further = (make(bench, p) for p in bench.passes for make in (tables.full_table, tables.memory_table))
    return Section(
        tables.setting_sentence(bench),
        tuple(filter(None, text)),
        pictures=tuple(figure_picture(f"{FOLDER}/{bench.file}-{n}", figure) for n, figure in curves),
        tables=(*(tables.ratio_table(bench, p) for p in bench.passes), tables.exponent_table(bench)),
        folded=(*further, tables.ceiling_table(bench), tables.not_run_table(bench)),
    )
