"""`hubrouter-audit init TARGET`: a test and a workflow in the user's repository."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from audits import __version__
from audits.cli._exits import OK, CommandError
from audits.report.render.templates import page
from audits.report.write import write_texts

TARGET = re.compile(r"(?!.*\.py:)(?P<module>[A-Za-z_]\w*(\.[A-Za-z_]\w*)*):(?P<attribute>[A-Za-z_]\w*)")
FILES = {"tests/test_causality.py": "test_causality.txt", ".github/workflows/causality.yml": "causality.yml"}


def run(options: argparse.Namespace) -> int:
    """Write both files and name them."""
    named = TARGET.fullmatch(options.target)
    if named is None:
        raise CommandError(f"init needs package.module:attribute, which a test can import, not {options.target!r}")
    words = {**named.groupdict(), "version": __version__}
    texts = {Path(options.folder, name): page(template, **words) for name, template in FILES.items()}
    if there := [str(path) for path in texts if path.exists()]:
        raise CommandError(f"init overwrites nothing, and {' and '.join(there)} exists")
    written = write_texts(texts)
    sys.stdout.write("".join(f"written: {path}\n" for path in written))
    return OK
