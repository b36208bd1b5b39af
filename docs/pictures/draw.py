"""Draws the pictures of this folder: what `hubrouter-audit model` prints, and the pages that it writes.

Run `python docs/pictures/draw.py` in the root of the repository. In terminals the line that reproduces a finding is
left out, because it is wider than the picture.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, redirect_stdout
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.text import Text

from audits import audit
from audits.__main__ import main as command_line
from audits.report.audit.console import print_verdict
from audits.subject.target import load_target

HERE = Path(__file__).resolve().parent
TUTORIAL = (HERE.parent / "tutorial.md").read_text(encoding="utf-8")
PLANTED = "audits.leaks.hub_selection_in_chunk:leaky"
WIDTH = 900  # of the window in which a page is shown
SCALE = 0.75  # of the picture


def blocks(language: str) -> list[str]:
    """The tutorial's fenced blocks of a language, in order."""
    fenced = re.findall(r"^```(.*)\n((?:.*\n)*?)```$", TUTORIAL, re.MULTILINE)
    return [text for name, text in fenced if name == language]


def fixed() -> str:
    """The tutorial's model after its change, whose blocks of removed lines stand before those that replace them."""
    source, (change,) = blocks("python")[0], blocks("diff")
    for old, new in re.findall(r"((?:^-.*\n)+)((?:^\+.*\n)+)", change, re.MULTILINE):
        before, after = ("".join(line[1:] for line in part.splitlines(keepends=True)) for part in (old, new))
        assert source.count(before) == 1
        source = source.replace(before, after)
    return source


@contextmanager
def folder_with(source: str) -> Iterator[None]:
    """Work in a folder that has the tutorial's model and nothing else."""
    with TemporaryDirectory() as folder, chdir(folder):
        Path("mixer.py").write_text(source, encoding="utf-8")
        yield


def terminal(target: str, options: str = "", *, width: int, name: str, **settings: int) -> str:
    """The first lines that an audit prints."""
    result = audit(load_target(target), target=target, **settings)
    result = replace(result, findings=tuple(replace(finding, reproduce="") for finding in result.findings))
    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text(f"$ hubrouter-audit model {target}{options}", style="dim"))
    print_verdict(result, console)
    drawn = console.export_svg(title="hubrouter-audit", unique_id=name)
    return re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.DOTALL)  # rich would fetch its font


def page(section: str, height: int) -> str:
    """The page that an audit of the tutorial's model writes, from the top to the end of a section."""
    with redirect_stdout(io.StringIO()):
        command_line(["model", "mixer.py:build", "--seq-len", "32", "--html", "page.html"])
    text = Path("page.html").read_text(encoding="utf-8")
    (style,), (body,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL), re.findall(r"<body>(.*)", text, re.DOTALL)
    shown = body[: body.index("</section>", body.index(f'<section id="{section}"'))]
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH * SCALE:g}" height="{height * SCALE:g}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size}>\n'
        '<foreignObject width="100%" height="100%"><div xmlns="http://www.w3.org/1999/xhtml" class="picture">\n'
        f"<style>{style.replace('body {', '.picture { min-height: 100vh; border: 1px solid var(--line);')}</style>\n"
        f"{shown}</section></main></div></foreignObject></svg>\n"
    )


def finding() -> str:
    """Of the README: a planted leak on a terminal."""
    return terminal(PLANTED, width=100, name="finding")


def tutorial_terminal() -> str:
    """Of the tutorial: its leak on a terminal."""
    with folder_with(blocks("python")[0]):
        return terminal("mixer.py:build", " --seq-len 32", width=88, name="tutorial", seq_len=32)


def tutorial_page() -> str:
    """Of the tutorial: the page of its leak."""
    with folder_with(blocks("python")[0]):
        return page("findings", 1770)


def tutorial_fixed() -> str:
    """Of the tutorial: the page after the fix."""
    with folder_with(fixed()):
        return page("influence", 1070)


PICTURES: dict[str, Callable[[], str]] = {
    "finding.svg": finding,
    "tutorial-terminal.svg": tutorial_terminal,
    "tutorial-page.svg": tutorial_page,
    "tutorial-fixed.svg": tutorial_fixed,
}


if __name__ == "__main__":
    for name, draw in PICTURES.items():
        (HERE / name).write_text(draw(), encoding="utf-8")
