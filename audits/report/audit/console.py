"""One audit in a terminal; the caller decides on width and colour by the console."""

from __future__ import annotations

import re

from rich.console import Console
from rich.table import Table
from rich.text import Text

from audits.explanation import excerpt, look_first, meaning, place, sentence, what
from audits.report.audit.coverage import contract, headline, left_out, probe_mark, reason, scope
from audits.report.render.console import COLOURS, marked
from audits.report.render.marks import audit_mark
from audits.report.render.words import LIMITS, NO_PROOF
from audits.results import AuditResult, Finding, Verdict

IN_FULL = 3  # findings; each further one gets a line
SHORT = 8  # steps of a way that is shown whole
_NAMED = 3  # probes that a finding names


def print_audit(result: AuditResult, console: Console) -> None:
    """One audit: verdict, what it means, the findings, the probes, and what a PASS does not prove."""
    print_verdict(result, console)
    console.print()
    console.print(_probes(result))
    console.print(Text(scope(result), style="dim"))
    if left_out(result):
        console.print(Text(f"Not run: {', '.join(left_out(result))}.", style="dim"))
    if result.verdict is not Verdict.LEAK:
        console.print(Text(f"{NO_PROOF}: {LIMITS[0]}", style="dim"))


def print_verdict(result: AuditResult, console: Console) -> None:
    """The verdict, what it means, and the findings."""
    console.print(Text.assemble(marked(audit_mark(result.verdict)), "  ", (result.target, "bold")), soft_wrap=True)
    console.print(Text(headline(result)))
    if result.settings.get("contract"):
        console.print(Text(f"Contract: {contract(result)}.", style="dim"))
    for index, finding in enumerate(result.findings, 1):
        console.print()
        if index <= IN_FULL:
            print_finding(index, finding, console)
        else:
            short = f"{index}. {finding.leak_class}: {what(finding)}; {place(finding)}"
            console.print(Text(short), no_wrap=True, overflow="ellipsis")


def print_finding(index: int, finding: Finding, console: Console) -> None:
    """What, where with the source, how it gets to the output, what it means, how to see it again: at most 12 lines."""
    _print_part(f"{index}. ", sentence(finding, _NAMED), console)
    # Never wrapped by us: a path or a command must be found whole in a log.
    console.print(Text.assemble(("   where: ", "dim"), place(finding)), soft_wrap=True)
    for line in excerpt(finding):
        style = f"bold {COLOURS['fail']}" if line.startswith(">") else "dim"
        console.print(Text(f"     {line}", style), no_wrap=True, overflow="ellipsis")
    if finding.trace:
        console.print(Text.assemble(("   way: ", "dim"), _way(finding)), no_wrap=True, overflow="ellipsis")
    means = re.split(r"[.:;](?: |$)", meaning(finding.leak_class))[0]
    _print_part("   ", f"{means}. Look at {look_first(finding.leak_class)}.", console)
    if finding.reproduce:
        console.print(Text.assemble(("   reproduce: ", "dim"), (finding.reproduce, "cyan")), soft_wrap=True)


def _way(finding: Finding) -> str:
    """The operations from the token to the output; of a long way its ends and those around the line named."""
    ops = [step.op for step in finding.trace]
    named = (finding.op, finding.file, finding.line)
    crossing = [i for i, step in enumerate(finding.trace) if (step.op, step.file, step.line) == named][:1]
    kept = {0, len(ops) - 1, *(i + near for i in crossing for near in (-1, 0, 1))}
    shown = [op if len(ops) <= SHORT or i in kept else "…" for i, op in enumerate(ops)]
    return " → ".join(op for op, before in zip(shown, ["", *shown], strict=False) if (op, before) != ("…", "…"))


def _print_part(name: str, text: str, console: Console) -> None:
    """A named sentence, its further lines indented."""
    grid = Table.grid(padding=0)
    grid.add_row(Text(name, style="dim"), Text(text))
    console.print(grid)


def _probes(result: AuditResult) -> Table:
    """A line for each probe; of a leak, whose findings say it all, no more of its reason than fits."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column()
    for probe in result.probes:
        undecided = probe.applicable and probe.verdict is Verdict.UNDETERMINED
        cropped = result.verdict is Verdict.LEAK and not undecided
        why = Text(reason(probe), no_wrap=cropped, overflow="ellipsis" if cropped else None)
        grid.add_row(marked(probe_mark(probe)), Text(probe.name), why)
    return grid
