"""One audit in a terminal; the caller decides on width and colour by the console."""

from __future__ import annotations

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from audits.explanation import excerpt, look_first, meaning, place, sentence, trail
from audits.report.audit.html import headline, not_run, probe_word
from audits.report.render.console import COLOURS, marked
from audits.report.render.marks import audit_mark
from audits.report.render.words import LIMITS, NO_PROOF
from audits.results import AuditResult, Finding, Verdict


def print_audit(result: AuditResult, console: Console) -> None:
    """One audit: verdict, what it means, the findings, the probes, and what a PASS does not prove."""
    mark = audit_mark(result.verdict)
    head = Text.assemble((mark.text, f"bold {COLOURS[mark.tone]}"), "  ", result.target, "\n", headline(result))
    head.append(f"\n{not_run(result)}" if not_run(result) else "")
    console.print(Panel(head, border_style=COLOURS[mark.tone], expand=False))
    for index, finding in enumerate(result.findings, 1):
        _print_finding(index, finding, console)
    grid = Table(title=Text("Probes"), title_justify="left")
    for heading, wrap in (("Probe", True), ("Verdict", True), ("Why", False), ("Forwards", True), ("Seconds", True)):
        grid.add_column(heading, no_wrap=wrap, justify="right" if heading in ("Forwards", "Seconds") else "left")
    for probe in result.probes:
        why, cost = Text(probe.why), (f"{probe.forwards:,}", f"{probe.seconds:.2f}")
        grid.add_row(Text(probe.name), marked(probe_word(probe)), why, *cost)
    console.print(grid)
    if result.verdict is not Verdict.LEAK:
        console.print(Text(f"{NO_PROOF}: {LIMITS[0]}", style="dim"))


def _print_finding(index: int, finding: Finding, console: Console) -> None:
    """What and where with the source line, what it means, how the value got there, and how to see it again."""
    console.print(Text.assemble((f"{index}. ", "bold"), sentence(finding), ("\n   where: ", "dim"), place(finding)))
    for line in excerpt(finding):
        style = "bold" if line.startswith(">") else "dim"
        console.print(Text(f"     {line}", style=style), no_wrap=True, overflow="ellipsis")
    rest = Text.assemble(("   means: ", "dim"), meaning(finding.leak_class))
    rest.append("\n   look at: ", "dim").append(look_first(finding.leak_class))
    for name, text, style in (("way", trail(finding), "dim"), ("reproduce", finding.reproduce, "cyan")):
        rest.append(f"\n   {name}: {text}" if text else "", style=style)
    console.print(rest)
