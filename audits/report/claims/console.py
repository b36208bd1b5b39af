"""Claims, kill matrix, peers and bench in a terminal; the caller decides on width and colour by the console."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from audits.claims.hubrouter import _bench_tables as bench_tables
from audits.claims.hubrouter._targets import target_table
from audits.claims.judged import Report
from audits.claims.tool import _peers as peers
from audits.claims.views import KillMatrix, kill_matrix
from audits.experiments.bench._measured import benches
from audits.report.claims import prose, tables
from audits.report.claims.kill_matrix import named_text
from audits.report.claims.marks import claim_mark, flags, tally_text, tier_word
from audits.report.render.console import marked, printed
from audits.report.render.marks import audit_mark

_UNSEEN = "·"
_LEGEND = (
    f"Leaky model: ✗ seen, {_UNSEEN} not seen. Clean control: ✓ passes, ! false alarm. "
    "Either: ? undetermined, - not run."
)


def print_claims(report: Report, console: Console) -> None:
    """The claims as a table, then the story and what needs attention."""
    grid = Table(title=Text("Claims"), title_justify="left", expand=True)
    for heading, ratio in (("Verdict", None), ("Claim", 2), ("Why", 5)):
        grid.add_column(heading, ratio=ratio, no_wrap=ratio is None, overflow="fold")
    for item in report.in_reading_order:
        why = Text(item.judgement.reason)
        why.append("".join(f"\n! {flag}" for flag in flags(item)), style="bold yellow")
        claim = Text.assemble(item.claim.id, (f"\n{tier_word(item.tier)}", "dim"))
        grid.add_row(marked(claim_mark(item.judgement.verdict)), claim, why)
    console.print(grid)
    for sentence in (f"{tally_text(report)}.", prose.expectation_sentence(report), *prose.story(report)):
        console.print(Text(sentence))


def print_kill_matrix(report: Report, console: Console) -> None:
    """The kill matrix: the verdict on the leaky model, then on its control; probes are numbered to fit a terminal."""
    matrix = kill_matrix(report)
    if not matrix.leaks:
        console.print(Text(tables.empty_note("Kill matrix")))
        return
    console.print(_kill_grid(matrix))
    console.print(Text("Probes: " + "  ".join(f"{i} {probe}" for i, probe in enumerate(matrix.probes, 1))))
    console.print(Text(_LEGEND, style="dim"))
    console.print(Text(prose.kill_sentence(matrix)))
    console.print(Text(prose.battery_sentence(matrix)))


def _kill_grid(matrix: KillMatrix) -> Table:
    grid = Table(title=Text("Kill matrix"), title_justify="left")
    for heading in ("Planted leak", "Class named"):
        grid.add_column(heading, overflow="fold", min_width=14)
    for index, _ in enumerate(matrix.probes, 1):
        grid.add_column(str(index), no_wrap=True, justify="center")
    for leak in matrix.leaks:
        good = leak.named == leak.leak_class
        cells = [_cell(leak.leaky.get(probe, ""), leak.clean.get(probe, "")) for probe in matrix.probes]
        grid.add_row(Text(leak.name), Text(named_text(leak), style="green" if good else "bold red"), *cells)
    return grid


def _cell(leaky: str, clean: str) -> Text:
    """Two symbols; a PASS on a leaky model is a leak not seen, a false alarm the one thing in red."""
    seen = Text(_UNSEEN if leaky == "PASS" else audit_mark(leaky).symbol, style="bold" if leaky == "LEAK" else "dim")
    alarm = clean == "LEAK"
    return seen.append(" ").append("!" if alarm else audit_mark(clean).symbol, style="bold red" if alarm else "dim")


def print_peers(report: Report, console: Console) -> None:
    """What this auditor and the peer find, and the time of both."""
    found = peers.peers(report)
    if found is None:
        console.print(Text(peers.NOT_RUN))
        return
    for table in (peers.leak_table(found), peers.class_table(found), peers.time_table(found)):
        console.print(printed(table))
    console.print(Text(peers.sentence(found)))


def print_bench(report: Report, console: Console) -> None:
    """The targets, and the ratios to attention on every machine."""
    found = benches(report.evidence)
    for bench in found:
        console.print(Text(bench_tables.setting_sentence(bench), style="bold"))
        for passes in bench.passes:
            console.print(printed(bench_tables.ratio_table(bench, passes)))
    console.print(printed(target_table(found)))
    console.print(Text(bench_tables.gpu_sentence(found)))
