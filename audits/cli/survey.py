"""`hubrouter-audit survey LIBRARY`: build every causal language model that a library registers, and audit each."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from pathlib import Path

from audits.cli._exits import FOUND, OK, UNDECIDED, CommandError, refuse_unknown
from audits.evidence.experiment import Options
from audits.evidence.ledger import Ledger
from audits.evidence.runner import gather
from audits.report.render.console import console
from audits.report.survey.console import print_survey
from audits.report.survey.files import write_changes, write_survey
from audits.subject.settings import Settings
from audits.survey.changes import causes, comparisons
from audits.survey.fixups import LONGEST, POSITIONS
from audits.survey.library import Architecture, Library, find_library
from audits.survey.reviews import reviewed
from audits.survey.rows import LEAK, Row, surveys
from audits.survey.run import experiment, todays_code

GIB = 2**30


def run(options: argparse.Namespace) -> int:
    """Gather, write, print; the exit code is that of the chosen rows."""
    if options.seq_len > LONGEST:
        raise CommandError(
            f"--seq-len {options.seq_len}: the tiny models have {POSITIONS} positions, use {LONGEST} at most"
        )
    folder = Path(options.out)
    library = find_library(options.library)
    release, chosen = library.release(), _chosen(library, options.only)
    fed = Settings(seq_len=options.seq_len, batch=options.batch, seed=options.seed)
    fed.check()
    runs = experiment(library, chosen, fed, seconds=options.time_limit, memory=options.memory_limit * GIB)
    ledger = Ledger(folder / "evidence")
    gathered = gather([runs], Options(), ledger, workers=options.workers, fresh=options.fresh)
    found = surveys(gathered.evidence, reviewed(), todays_code())
    survey = next(item for item in found if (item.library, item.release) == (library.name, release))
    written = write_survey(survey, folder) + write_changes(comparisons(found, causes()), folder)
    names = {architecture.name for architecture in chosen}
    shown = console()
    print_survey(survey, names, shown)
    shown.print("written: " + ", ".join(str(path) for path in written), highlight=False, soft_wrap=True)
    return exit_code([row for row in survey.rows if row.name in names])


def rebuild_surveys(folder: Path) -> None:
    """Write the tables of every release in the evidence again, and what changed between them."""
    found = surveys(Ledger(folder / "evidence").read(), reviewed(), todays_code())
    for survey in found:
        write_survey(survey, folder)
    write_changes(comparisons(found, causes()), folder)


def exit_code(rows: Collection[Row]) -> int:
    """1 for an unexplained leak, 3 for anything else that is not as reviewed, else 0."""
    unexplained = [row for row in rows if not row.as_reviewed]
    if any(row.verdict == LEAK for row in unexplained):
        return FOUND
    return UNDECIDED if unexplained else OK


def _chosen(library: Library, names: list[str] | None) -> tuple[Architecture, ...]:
    """The architectures asked for, with their variants where the plain one is named; all where none is."""
    known = library.architectures()
    asked = names or [architecture.name for architecture in known]
    words = {item.name: (item.name, item.name.partition("+")[0], item.model) for item in known}
    unknown = [name for name in asked if not any(name in called for called in words.values())]
    refuse_unknown(f"architecture of {library.name} {library.release()}", unknown, words)
    return tuple(item for item in known if set(words[item.name]) & set(asked))
