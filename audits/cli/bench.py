"""`hubrouter-audit bench`: HubRouter against attention and other layers on this machine, and the targets."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from rich.text import Text

from audits.claims.judged import report_of
from audits.cli._exits import OK, CommandError, refuse_unknown
from audits.cli._reports import ledger_in, reference_of, together
from audits.cli.claims import exit_code
from audits.evidence.experiment import Experiment, Options
from audits.evidence.runner import gather
from audits.experiments.bench import bench as experiment
from audits.experiments.bench import kernel_check, start_up
from audits.experiments.bench._layers import entries
from audits.experiments.bench._measured import benches
from audits.experiments.bench._profile import profile_table, profiles
from audits.experiments.bench._roofline import rates_of, roofline_sentence, roofline_table
from audits.jsonable import json_text
from audits.report.bench import bench_document
from audits.report.claims.console import print_document
from audits.report.files import write_reports
from audits.report.render.console import console, printed
from audits.subject.untouched import check_device

READERS = ("cost", "kernels")  # claims whose verdict the bench can change


def run(options: argparse.Namespace) -> int:
    """Measure what is missing, rebuild the reports, print; targets that are missed change no exit code.

    With `--profile` or `--roofline` that alone is printed, and nothing is written.
    """
    if options.profile:
        return _profile(options.profile)
    if options.roofline:
        return _roofline(options)
    folder, wished = Path(options.reports), Options(options.tier, options.device)
    check_device(options.device)
    chosen = _chosen(wished, options.only or ())
    before = kernel_check.EXPERIMENT if options.device.startswith("cuda") else start_up.EXPERIMENT
    gathered = gather([before, chosen], wished, ledger_in(folder), fresh=options.fresh)
    report = report_of(together(reference_of(folder), gathered.evidence))
    write_reports(report, folder)
    print_document(bench_document(report), console())
    read = [item for item in report.judged if item.claim.id in READERS]
    return exit_code(read, failed=bool(gathered.failures))


def _profile(n: int) -> int:
    """The table, then the same as JSON."""
    found = profiles(experiment.SIZES["full"].shape, n)
    console().print(printed(profile_table(found)))
    sys.stdout.write(json_text([asdict(profile) for profile in found]))
    return OK


def _roofline(options: argparse.Namespace) -> int:
    """The table for an assumed or a recorded machine, whose rates may be replaced."""
    folder = Path(options.reports)
    recorded = benches(together(reference_of(folder), ledger_in(folder).read()))
    try:
        tops, source = rates_of(options.roofline, recorded, options.matmul_rate, options.copy_rate)
    except LookupError as problem:
        raise CommandError(str(problem.args[0])) from problem
    shape, shown = experiment.SIZES["paper"].shape, console()
    shown.print(Text(roofline_sentence(shape, tops, source)))
    shown.print(printed(roofline_table(shape, tops)))
    return OK


def _chosen(options: Options, layers: Sequence[str]) -> Experiment:
    if options.tier == "paper" and not options.device.startswith("cuda"):
        raise CommandError("tier paper is measured on a GPU: add --device cuda, or take --tier full on a CPU")
    known = dict.fromkeys(entry.layer for entry in entries(experiment.SIZES[options.tier].shape, options.device))
    refuse_unknown("layer", layers, known)
    return replace(experiment.EXPERIMENT, runs=lambda wished: experiment.runs_of(wished, layers))
