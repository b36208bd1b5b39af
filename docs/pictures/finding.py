"""Draws finding.svg: the verdict and the finding that `hubrouter-audit model` prints of a planted leak.

Run `python docs/pictures/finding.py` in the root of the repository. The line that reproduces the finding is left out,
because it is wider than the picture.
"""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.text import Text

from audits import audit
from audits.report.audit.console import print_verdict
from audits.subject.target import load_target

TARGET = "audits.leaks.hub_selection_in_chunk:leaky"


def main() -> None:
    """Audit, print into a recording console, and write the picture next to this file."""
    result = audit(load_target(TARGET), target=TARGET)
    result = replace(result, findings=tuple(replace(finding, reproduce="") for finding in result.findings))
    console = Console(record=True, width=100, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text(f"$ hubrouter-audit model {TARGET}", style="dim"))
    print_verdict(result, console)
    drawn = console.export_svg(title="hubrouter-audit", unique_id="finding")
    offline = re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.DOTALL)  # rich would fetch its font
    Path(__file__).with_suffix(".svg").write_text(offline, encoding="utf-8")


if __name__ == "__main__":
    main()
