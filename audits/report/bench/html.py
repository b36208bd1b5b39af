"""The bench on the page: targets first, then every machine with its figures and tables."""

from __future__ import annotations

from audits.claims.hubrouter import _bench_tables as tables
from audits.claims.hubrouter._bench_figures import time_curves
from audits.claims.hubrouter._targets import target_table
from audits.claims.judged import Report
from audits.experiments.bench._measured import Bench, benches
from audits.report.render.figures import drawn
from audits.report.render.page import attention, charts, folded, measured, paragraph, section, table
from audits.report.render.words import TIMING_NOTE


def bench_section(report: Report) -> str:
    """What was reached, and all measurements in marked boxes."""
    found = benches(report.evidence)
    head = [paragraph(tables.HOW if found else tables.NOTHING)]
    if gpu := tables.gpu_sentence(found):
        head.append(f"<p>{attention(gpu)}</p>")
    boxes = [_machine(report, bench) for bench in found]
    return section(
        "bench", tables.HEADING, *head, table(target_table(found)), *map(table, tables.start_up_tables(report)), *boxes
    )


def _machine(report: Report, bench: Bench) -> str:
    stale = tables.stale_sentence(report, bench)
    return measured(
        f"{TIMING_NOTE} {tables.setting_sentence(bench)}",
        f"<p>{attention(stale)}</p>" if stale else "",
        charts([drawn(f"bench-{bench.file}-{i}", figure) for i, figure in enumerate(time_curves(bench))]),
        *(_pass(bench, passes) for passes in bench.passes),
        paragraph(missing) if (missing := tables.missing_sentence(bench)) else "",
        table(tables.exponent_table(bench)),
        folded("Ceilings of this machine", table(tables.ceiling_table(bench))),
        folded("Not run, and why", table(tables.not_run_table(bench))),
    )


def _pass(bench: Bench, passes: str) -> str:
    """Ratios open, the rest folded away."""
    full, memory = table(tables.full_table(bench, passes)), table(tables.memory_table(bench, passes))
    return table(tables.ratio_table(bench, passes)) + folded(f"{passes}: times, floors, rates, memory", full + memory)
