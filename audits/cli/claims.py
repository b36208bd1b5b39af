"""`hubrouter-audit claims`: gather missing evidence, judge every claim, write the reports."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path

from audits.claims.claim import Claim, ClaimVerdict, JudgedClaim
from audits.claims.judged import Report, report_of
from audits.claims.registry import all_claims
from audits.cli._exits import FOUND, OK, UNDECIDED, CommandError, refuse_unknown
from audits.cli._reports import compared, ledger_in, reference_of, together
from audits.evidence.executors.executor import Executor, ExecutorError
from audits.evidence.executors.local import LocalExecutor
from audits.evidence.experiment import Experiment, Options
from audits.evidence.ledger import Evidence, Ledger
from audits.evidence.machine import cache_folder
from audits.evidence.runner import Gathered, gather
from audits.experiments.registry import all_experiments
from audits.probes._registry import all_probes
from audits.report.claims.console import print_claims
from audits.report.claims.what_probes_see import what_probes_see
from audits.report.files import README, append_summary, write_reports
from audits.report.render.console import console
from audits.report.write import write_text
from audits.subject.settings import Settings
from audits.subject.untouched import check_device


def write_everything(report: Report, options: argparse.Namespace) -> None:
    """The reports and, where asked for, the page on the probes; also on the summary page of a GitHub job."""
    write_reports(report, Path(options.reports))
    if options.page:
        write_text(Path(options.page), what_probes_see(report, all_probes()))
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        append_summary(report, Path(summary))


def run(options: argparse.Namespace) -> int:
    """Gather, judge, write, print; exit by the verdicts."""
    claims = all_claims()
    shown = console()
    chosen = _chosen(claims, options.only)
    folder = Path(options.reports)
    reference = reference_of(folder)
    gathered = _gathered(options, _needed(chosen), ledger_in(folder), reference)
    report = report_of(together(reference, gathered.evidence))
    write_everything(report, options)
    for failure in gathered.failures:
        shown.print(f"failed: {failure.line}", style="bold red", markup=False, highlight=False, soft_wrap=True)
    ids = {claim.id for claim in chosen}
    judged = [item for item in report.judged if item.claim.id in ids]
    print_claims(report, shown, folder / README, judged if options.only else ())
    for line in compared(report, reference, [claim.id for claim in chosen], options.tier):
        shown.print(line, markup=False, highlight=False, soft_wrap=True)
    return exit_code(judged, failed=bool(gathered.failures))


def _gathered(
    options: argparse.Namespace, needed: tuple[Experiment, ...], ledger: Ledger, earlier: Evidence
) -> Gathered:
    Settings(device=options.device).check()
    if options.executor == "local":  # a cluster's nodes have other devices than the machine that submits
        check_device(options.device)
    folder = _checkpoint_folder(options)
    executor = _chosen_executor(options, folder)
    kept = None if folder is None else str(folder)
    wished = Options(options.tier, options.device, options.corpus, kept, options.hotpot)
    return gather(needed, wished, ledger, fresh=options.fresh, executor=executor, earlier=earlier)


def _checkpoint_folder(options: argparse.Namespace) -> Path | None:
    """Where runs keep their state; None where nothing was asked for and the cache cannot be written."""
    cache = cache_folder()
    folder = Path(options.checkpoints) if options.checkpoints else cache / "checkpoints" if cache else None
    if folder is None:
        return None
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK | os.X_OK):
            return folder.absolute()
    if options.checkpoints:
        raise CommandError(f"checkpoints {folder}: not a folder that can be written; choose another")
    return None


def _chosen_executor(options: argparse.Namespace, folder: Path | None) -> Executor:
    """The executor that was asked for, or ExecutorError where it cannot be used."""
    slurm = {key: value for key, _, value in (text.partition("=") for text in options.slurm)}
    if options.executor == "local":
        if slurm:
            raise ExecutorError("options for Slurm were given, but the executor is local; add --executor slurm")
        return LocalExecutor(options.device, options.workers)
    if folder is None:
        raise ExecutorError("no folder to share with the cluster's nodes: give one with --checkpoints DIR")
    try:
        from audits.evidence.executors.slurm import SlurmExecutor
    except ImportError:
        raise ExecutorError(
            "--executor slurm needs submitit, which is not installed; pip install 'hubrouter-audit[cluster]'"
        ) from None
    return SlurmExecutor(folder / "slurm", slurm, at_a_time=options.workers)


def exit_code(judged: Sequence[JudgedClaim], *, failed: bool) -> int:
    """3 for a run or test that failed, 1 for a failed gate or an unexpected verdict, else 0."""
    every = [at_tier for item in judged for at_tier in item.at_every_tier]
    if failed or any(item.judgement.verdict is ClaimVerdict.ERROR for item in every):
        return UNDECIDED
    return FOUND if any(item.needs_attention for item in judged) else OK


def _chosen(claims: tuple[Claim, ...], ids: list[str] | None) -> tuple[Claim, ...]:
    """The claims of these ids, or whose ids match a pattern such as `routing-*`; all where none is asked for."""
    known = [claim.id for claim in claims]
    found = {pattern: {name for name in known if fnmatchcase(name, pattern)} for pattern in ids or ["*"]}
    refuse_unknown("claim", [pattern for pattern, names in found.items() if not names], known)
    return tuple(claim for claim in claims if any(claim.id in names for names in found.values()))


def _needed(claims: tuple[Claim, ...]) -> tuple[Experiment, ...]:
    """What the claims rest on; language models first, which take the longest."""
    names = {name for claim in claims for name in claim.needs}
    found = (experiment for experiment in all_experiments() if experiment.name in names)
    return tuple(sorted(found, key=lambda experiment: experiment.recorded_as != "language-model"))
