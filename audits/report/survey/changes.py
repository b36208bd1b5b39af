"""What changed between surveyed releases, as Markdown and as a self-contained page."""

from __future__ import annotations

from collections.abc import Sequence

from audits.formatting import Table
from audits.report.render import markdown_parts
from audits.report.render.escape import code, markup
from audits.report.render.escape import markdown as text
from audits.report.render.marks import audit_mark
from audits.report.render.page import bullets, page, paragraph, section, table
from audits.report.render.words import REBUILT
from audits.report.survey.prose import tally_sentence
from audits.survey.changes import Change, Comparison
from audits.survey.rows import Row

HEADER = ("architecture", "releases", "before", "after", "location", "why")
READING = (
    "An architecture is compared with itself in the surveyed release before in which it could be built. What appears "
    "or disappears with a release is not listed. Verdicts are those of the probes of both audits.",
    "The location is where the leak was found, in the release that has it.",
)


def changes_markdown(comparisons: Sequence[Comparison]) -> str:
    """The whole document, a part for each library."""
    return "\n".join(map(_markdown, comparisons))


def changes_html(comparisons: Sequence[Comparison]) -> str:
    """The whole page, a section for each library."""
    title = "What changed between surveyed releases"
    head = f"<h1>{markup(title)}</h1>\n" + "".join(paragraph(_tally(part), "story") for part in comparisons)
    body = [part for comparison in comparisons for part in _sections(comparison)]
    body.append(section("reading", "How to read this", bullets(READING)))
    return page(title, head, "\n".join(body), REBUILT, roomy=True)


def _markdown(comparison: Comparison) -> str:
    parts = (
        f"# {text(_title(comparison))}",
        f"**{text(_tally(comparison))}**",
        markdown_parts.grid(HEADER, [_marked(change) for change in _in_reading_order(comparison)]),
        "## Releases",
        markdown_parts.bullets(_releases(comparison)),
        "## How to read this",
        markdown_parts.bullets(READING),
    )
    return "\n\n".join(parts) + "\n"


def _sections(comparison: Comparison) -> tuple[str, str]:
    title, rows = _title(comparison), tuple(_cells(change) for change in _in_reading_order(comparison))
    return (
        section(f"changes-{comparison.library}", title, table(Table(title, HEADER, rows))),
        section(f"releases-{comparison.library}", "Releases", bullets(_releases(comparison))),
    )


def _title(comparison: Comparison) -> str:
    releases = [survey.release for survey in comparison.releases]
    return f"What changed in {comparison.library} from {releases[0]} to {releases[-1]}"


def _tally(comparison: Comparison) -> str:
    names = {change.before.name for change in comparison.changes}
    number, unexplained = len(comparison.changes), len(comparison.unexplained) or "none"
    return (
        f"{number} changes of verdict or class of leak in {len(names)} architectures and variants; "
        f"{unexplained} unexplained."
    )


def _releases(comparison: Comparison) -> list[str]:
    return [f"{survey.release}: {tally_sentence(survey)}" for survey in comparison.releases]


def _in_reading_order(comparison: Comparison) -> list[Change]:
    """Unexplained changes first."""
    return sorted(comparison.changes, key=lambda change: (change.cause is not None, change.before.name))


def _cells(change: Change) -> tuple[str, ...]:
    leaky = change.after if change.after.location else change.before
    why = change.cause.reason if change.cause else "unexplained"
    between = f"{change.older} → {change.newer}"
    return (change.before.name, between, _verdict(change.before), _verdict(change.after), leaky.location, why)


def _marked(change: Change) -> list[str]:
    name, between, before, after, location, why = _cells(change)
    return [code(name), text(between), text(before), text(after), code(location) if location else "", text(why)]


def _verdict(row: Row) -> str:
    return " ".join((audit_mark(row.verdict).text, ", ".join(row.leak_classes))).strip()
