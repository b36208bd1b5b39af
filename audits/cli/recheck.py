"""`hubrouter-audit recheck`: do runs that earlier code made still hold? A sample is repeated with today's code."""

from __future__ import annotations

import argparse
from pathlib import Path

from audits.cli._exits import FOUND, OK, UNDECIDED, refuse_unknown
from audits.evidence.ledger import Ledger
from audits.evidence.recheck import Outcome, Recheck, may_differ
from audits.evidence.succession import repeated
from audits.experiments.registry import all_experiments
from audits.report.render.console import console
from audits.subject.untouched import check_device


def run(options: argparse.Namespace) -> int:
    """0 where all that was repeated is equal, 1 where something differed, 3 where a recheck was refused."""
    experiments = all_experiments()
    refuse_unknown("experiment", options.experiments, [experiment.recorded_as for experiment in experiments])
    chosen = [e for e in experiments if not options.experiments or e.recorded_as in options.experiments]
    shown = console()
    check_device(options.device)
    again = Recheck(options.device, options.workers)
    if options.outside:
        outcomes = again.of_outside(chosen, Ledger(Path(options.outside)).read())
    else:
        outcomes = again.of_ledger(chosen, Ledger(Path(options.reports) / "evidence"))
    for outcome in outcomes:
        shown.print(line(outcome), markup=False, highlight=False, soft_wrap=True)
    if not outcomes:
        ours = "every run whose code is known was made by code that counts as today's"
        theirs = "no run from outside is said to be made by today's code"
        shown.print(f"nothing to re-check: {theirs if options.outside else ours}", highlight=False)
    if any(outcome.different for outcome in outcomes):
        return FOUND
    return UNDECIDED if any(outcome.refused for outcome in outcomes) else OK


def line(outcome: Outcome) -> str:
    """An outcome in one line."""
    what = f"{outcome.experiment}, {outcome.runs} runs of code {outcome.before}"
    if outcome.refused:
        return f"{what}: not re-checked; {outcome.refused}"
    if outcome.different:
        first = outcome.different[0]
        return (
            f"{what}: {len(outcome.different)} numbers differ, first {first.path} of run {first.run}: "
            f"{first.before!r}, now {first.now!r}; all of them are stale"
        )
    share = may_differ(outcome.runs, outcome.repeated)
    return f"{what}: {repeated(outcome.repeated, outcome.runs, outcome.now, share)}"
