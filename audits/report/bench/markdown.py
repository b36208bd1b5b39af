"""The bench in Markdown: the facts of the page, without its figures' numbers, which the tables hold."""

from __future__ import annotations

from audits.claims.hubrouter._targets import target_table
from audits.experiments.bench._measured import Bench, benches
from audits.experiments.bench._row import PASSES
from audits.report.bench import tables as told
from audits.report.claims.document import Report
from audits.report.render.escape import markdown as text
from audits.report.render.markdown_parts import table
from audits.report.render.words import TIMING_NOTE


def bench_parts(report: Report) -> list[str]:
    """The section, paragraph by paragraph."""
    found = benches(report.evidence)
    head = [text(told.HOW if found else told.NOTHING), text(told.gpu_sentence(found)), table(target_table(found))]
    head += map(table, told.start_up_tables(report))
    return [f"### {told.HEADING}", *head, *(part for bench in found for part in _machine(report, bench))]


def _machine(report: Report, bench: Bench) -> list[str]:
    """One machine."""
    tables = [make(bench, p) for p in PASSES for make in (told.ratio_table, told.full_table, told.memory_table)]
    rest = (told.exponent_table(bench), told.ceiling_table(bench), told.not_run_table(bench))
    return [
        f"#### {text(told.setting_sentence(bench))}",
        f"*{TIMING_NOTE}* {text(told.missing_sentence(bench))}",
        text(told.stale_sentence(report, bench)),
        *map(table, (*tables, *rest)),
    ]
