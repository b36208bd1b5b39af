"""The bench in Markdown: the facts of the page, without its figures' numbers, which the tables hold."""

from __future__ import annotations

from audits.claims.hubrouter import _bench_tables as tables
from audits.claims.hubrouter._targets import target_table
from audits.claims.judged import Report
from audits.experiments.bench._measured import Bench, benches
from audits.report.render.escape import markdown as text
from audits.report.render.markdown_parts import table
from audits.report.render.words import TIMING_NOTE


def bench_parts(report: Report) -> list[str]:
    """The section, paragraph by paragraph."""
    found = benches(report.evidence)
    head = [text(tables.HOW if found else tables.NOTHING), text(tables.gpu_sentence(found)), table(target_table(found))]
    head += map(table, tables.start_up_tables(report))
    return [f"### {tables.HEADING}", *head, *(part for bench in found for part in _machine(report, bench))]


def _machine(report: Report, bench: Bench) -> list[str]:
    shown = [
        make(bench, p) for p in bench.passes for make in (tables.ratio_table, tables.full_table, tables.memory_table)
    ]
    rest = (tables.exponent_table(bench), tables.ceiling_table(bench), tables.not_run_table(bench))
    return [
        f"#### {text(tables.setting_sentence(bench))}",
        f"*{TIMING_NOTE}* {text(tables.missing_sentence(bench))}",
        text(tables.stale_sentence(report, bench)),
        *map(table, (*shown, *rest)),
    ]
