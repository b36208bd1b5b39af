"""The bench as a page: targets first, then every machine with its figures and tables."""

from __future__ import annotations

from audits.claims.hubrouter import _bench_tables as tables
from audits.claims.hubrouter._bench_figures import time_curves
from audits.claims.hubrouter._targets import target_table
from audits.claims.judged import Report
from audits.experiments.bench._measured import Bench, benches
from audits.report.bench.json import FOLDER
from audits.report.render.document import Document, Section, figure_picture
from audits.report.render.words import TIMING_NOTE


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
