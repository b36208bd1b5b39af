"""`hubrouter-audit survey LIBRARY`: build every causal language model that a library registers, and audit each."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Collection
from pathlib import Path

from rich.console import Console

from audits.cli._exits import FOUND, OK, UNDECIDED, CommandError, positive
from audits.evidence.experiment import Experiment, Options
from audits.evidence.ledger import Ledger, LedgerError
from audits.evidence.runner import gather
from audits.report.survey.console import print_survey
from audits.report.write import ReportError, write_changes, write_survey
from audits.subject.subject import Settings, SubjectError
from audits.survey.changes import causes, comparisons
from audits.survey.fixups import POSITIONS, SEQ_LEN
from audits.survey.library import Architecture, Library, find_library, library_names
from audits.survey.reviews import reviewed
from audits.survey.rows import LEAK, Row, surveys
from audits.survey.run import experiment

NAME, HELP = "survey", "build every causal language model of a library, tiny and without a download, and audit each"
SECONDS = 300  # for one architecture; most take below ten on a machine that does nothing else
GIB = 2**30
LONGEST = POSITIONS // 2


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which library, what is fed, within which limits, where to."""
    add = parser.add_argument
    add("library", metavar="LIBRARY", choices=library_names(), help=f"one of {', '.join(library_names())}")
    add("--only", nargs="+", metavar="NAME", help="only these, by registered name or by class; exit by them")
    add("--seq-len", type=int, metavar="N", default=SEQ_LEN, help=f"tokens a sequence ({SEQ_LEN}; at most {LONGEST})")
    add("--batch", type=int, metavar="B", default=Settings.batch, help="most rows in one forward pass")
    add("--seed", type=int, metavar="S", default=0, help="of weights and inputs")
    add("--workers", type=positive, metavar="W", help="processes at a time; one a core where absent")
    add("--time-limit", type=positive, metavar="SECONDS", default=SECONDS, help=f"for one architecture ({SECONDS})")
    add("--memory-limit", type=positive, metavar="GIB", default=6, help="for one architecture (6)")
    add("--fresh", action="store_true", help="repeat runs that are in the evidence already")
    add("--out", metavar="DIR", default="reports/survey", help="the folder of the tables and their evidence")


def run(options: argparse.Namespace) -> int:
    """Gather, write, print; exit by the rows that were asked for."""
    if options.seq_len > LONGEST:
        raise CommandError(
            f"--seq-len {options.seq_len}: the tiny models have {POSITIONS} positions, use {LONGEST} at most"
        )
    folder = Path(options.out)
    library = find_library(options.library)
    try:
        Settings(seq_len=options.seq_len, batch=options.batch, seed=options.seed).check()
        release, chosen = library.release(), _chosen(library, options.only)
        ledger = Ledger(folder / "evidence")
        gathered = gather(
            [_experiment(library, chosen, options)],
            Options(),
            ledger,
            workers=options.workers,
            fresh=options.fresh,
            console=Console(stderr=True),
        )
        found = surveys(gathered.evidence, reviewed())
        survey = next(item for item in found if (item.library, item.release) == (library.name, release))
        written = write_survey(survey, folder) + write_changes(comparisons(found, causes()), folder)
    except (LedgerError, ReportError, SubjectError) as problem:
        raise CommandError(str(problem)) from problem
    names = {architecture.name for architecture in chosen}
    console = Console()
    print_survey(survey, names, console)
    console.print("written: " + ", ".join(str(path) for path in written), highlight=False, soft_wrap=True)
    return exit_code([row for row in survey.rows if row.name in names])


def rebuild_surveys(folder: Path) -> None:
    """Write the tables of every release in the evidence again, and what changed between them.

    Raises:
        LedgerError: the evidence cannot be read.
        ReportError: a table cannot be written.
    """
    found = surveys(Ledger(folder / "evidence").read(), reviewed())
    for survey in found:
        write_survey(survey, folder)
    write_changes(comparisons(found, causes()), folder)


def exit_code(rows: Collection[Row]) -> int:
    """1 for a leak that nobody has explained, 3 for anything else that is not as reviewed, else 0."""
    unexplained = [row for row in rows if not row.as_reviewed]
    if any(row.verdict == LEAK for row in unexplained):
        return FOUND
    return UNDECIDED if unexplained else OK


def _experiment(library: Library, chosen: tuple[Architecture, ...], options: argparse.Namespace) -> Experiment:
    return experiment(
        library,
        chosen,
        seq_len=options.seq_len,
        batch=options.batch,
        seed=options.seed,
        seconds=options.time_limit,
        memory=options.memory_limit * GIB,
    )


def _chosen(library: Library, names: list[str] | None) -> tuple[Architecture, ...]:
    """The architectures asked for, with their variants where the plain one is named; all where none is."""
    known = library.architectures()
    asked = names or [architecture.name for architecture in known]
    words = {item.name: (item.name, item.name.partition("+")[0], item.model) for item in known}
    unknown = [name for name in asked if not any(name in called for called in words.values())]
    if unknown:
        near = difflib.get_close_matches(unknown[0], words, n=3)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        raise CommandError(f"{library.name} {library.release()} registers no {', '.join(unknown)}{hint}")
    return tuple(item for item in known if set(words[item.name]) & set(asked))
