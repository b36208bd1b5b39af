"""What the pages need to be a site: links to files outside docs/, and the help of every command."""

from __future__ import annotations

import posixpath
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the command line of this checkout; it imports neither torch nor anything installed
HOME = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]["Homepage"]


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The page with absolute links to what the site does not contain, and with the help that it asks for."""
    folder = posixpath.dirname(page.file.src_uri)

    def absolute(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join("docs", folder, link[1]))
        return link[0] if path.startswith("docs/") else f"]({HOME}/blob/main/{path})"

    markdown = re.sub(r"\]\((\.\./[^)\s]*)\)", absolute, markdown)
    return re.sub(r"<!-- help: (\w+) -->", lambda asked: f"```text\n{command_help(asked[1])}```", markdown)


def command_help(name: str) -> str:
    """What `hubrouter-audit NAME --help` prints."""
    from audits.__main__ import _parser

    (commands,) = (action.choices for action in _parser()._actions if isinstance(action.choices, dict))
    return str(commands[name].format_help())
