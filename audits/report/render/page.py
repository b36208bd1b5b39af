"""The parts an HTML page is made of; every function returns markup, every text given to it is escaped here."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files

from audits.formatting import Table
from audits.report.render.escape import markup
from audits.report.render.marks import Mark
from audits.report.render.templates import source
from audits.report.render.words import TITLE

# Nothing is loaded, and nothing runs but a script that the page holds itself, known to the browser by its digest.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


@cache
def packaged(package: str, name: str) -> str:
    """The text of a style sheet or script that lies in the folder of this package."""
    return files(package).joinpath(name).read_text(encoding="utf-8")


def page(
    title: str, head: str, body: str, foot: str, script: str = "", more_style: str = "", *, roomy: bool = False
) -> str:
    """A whole self-contained document; `script` adds comfort, the page must read without it; `roomy` is wide."""
    body_tag = '<body class="roomy">' if roomy else "<body>"
    style = source("page.css") + more_style
    policy = _POLICY + (f"; script-src 'sha256-{_digest(script)}'" if script else "")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{markup(title)}</title>\n<style>\n{style}</style>\n</head>\n{body_tag}\n"
        f"<header><div>\n{head}\n</div></header>\n<main>\n{body}\n</main>\n<footer>{paragraph(foot)}</footer>\n"
        f"{f'<script>{script}</script>' if script else ''}</body>\n</html>\n"
    )


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def paragraph(text: str, style_class: str = "") -> str:
    """A paragraph of plain text."""
    return f'<p class="{style_class}">{markup(text)}</p>' if style_class else f"<p>{markup(text)}</p>"


def pill(mark: Mark) -> str:
    """A verdict: symbol, word and colour."""
    return f'<span class="pill tone-{mark.tone}">{markup(mark.text)}</span>'


def badge(text: str, title: str = "") -> str:
    """A small fact next to a verdict."""
    hint = f' title="{markup(title)}"' if title else ""
    return f'<span class="badge"{hint}>{markup(text)}</span>'


def attention(text: str) -> str:
    """A sentence that needs attention."""
    return f'<span class="attention">! {markup(text)}</span>'


def verdict_head(mark: Mark, target: str) -> str:
    """The first screen of a page on one model: whose page it is, and the verdict."""
    title = f"<h1>{markup(TITLE)}</h1><p class='soft'><code>{markup(target)}</code></p>"
    return f'{title}<p class="story tone-{mark.tone}">{markup(mark.text)}</p>'


def section(name: str, heading: str, *parts: str) -> str:
    """A section with an anchor."""
    content = "\n".join(part for part in parts if part)
    return f'<section id="{markup(name)}">\n<h2>{markup(heading)}</h2>\n{content}\n</section>'


def bullets(sentences: Sequence[str]) -> str:
    """A list."""
    return "<ul>" + "".join(f"<li>{markup(sentence)}</li>" for sentence in sentences) + "</ul>"


def limits(heading: str, sentences: Sequence[str]) -> str:
    """The section that says what a verdict does not show."""
    return section("limits", heading, f'<div class="limits">{bullets(sentences)}</div>')


def measured(heading: str, *parts: str) -> str:
    """A box for what differs from run to run."""
    return f'<div class="measured"><h4>{markup(heading)}</h4>{"".join(parts)}</div>'


def table(content: Table) -> str:
    """A table of texts."""
    return markup_table(content.title, map(markup, content.header), [map(markup, row) for row in content.rows])


def markup_table(title: str, header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of markup, which scrolls by itself where the screen is narrower."""
    head = "".join(f'<th scope="col">{cell}</th>' for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    grid = f"<table><caption>{markup(title)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="wide" tabindex="0" role="region" aria-label="{markup(title)}">{grid}</div>'


def figure(drawings: Sequence[str], caption: str) -> str:
    """Drawings and tables side by side, below each other on a narrow screen, with their caption."""
    return f'<figure><div class="pair">{"".join(drawings)}</div><figcaption>{markup(caption)}</figcaption></figure>'


def charts(drawn: Sequence[str]) -> str:
    """Charts side by side, below each other on a narrow screen; empty text without any."""
    return f'<div class="charts">{"".join(drawn)}</div>' if drawn else ""


def wide_figure(drawing: str, caption: str) -> str:
    """A drawing kept at its size; it scrolls sideways where the screen is narrower."""
    inner = f'<div class="wide scroll" tabindex="0" role="region" aria-label="{markup(caption)}">{drawing}</div>'
    return f"<figure>{inner}<figcaption>{markup(caption)}</figcaption></figure>"


def folded(summary: str, content: str) -> str:
    """Detail that opens on demand."""
    return f"<details><summary>{markup(summary)}</summary>{content}</details>"


def definitions(pairs: Sequence[tuple[str, str]]) -> str:
    """Terms with their markup; a pair whose markup is empty is left out."""
    return "<dl>" + "".join(f"<dt>{markup(term)}</dt><dd>{value}</dd>" for term, value in pairs if value) + "</dl>"
