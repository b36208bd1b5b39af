"""`hubrouter-audit init TARGET`: a test and a workflow in the user's repository."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from audits import __version__
from audits.cli._exits import OK, CommandError
from audits.report.write import write_texts

TARGET = re.compile(r"(?!.*\.py:)(?P<module>[A-Za-z_]\w*(\.[A-Za-z_]\w*)*):(?P<attribute>[A-Za-z_]\w*)")
TEST = '''"""Does {attribute} see its future? One test for each probe."""

from audits.testing import parametrize_with_probes
from {module} import {attribute}


# Choose seq_len three times as long as the model's windows and chunks.
@parametrize_with_probes({{"{attribute}": {attribute}}}, seq_len=96)
def test_causality(check):
    check()
'''
WORKFLOW = """name: causality
on: [push, pull_request]
permissions:
  contents: read
  security-events: write # findings in code scanning
jobs:
  audit:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v5
      - uses: actions/setup-python@v6
        with:
          python-version: "3.12"
      # Install here what the model needs.
      - uses: hubrouter-audit/hubrouter-audit@v{version}
        with:
          target: {module}:{attribute}
          options: --seq-len 96
"""
FILES = {"tests/test_causality.py": TEST, ".github/workflows/causality.yml": WORKFLOW}


def run(options: argparse.Namespace) -> int:
    """Write both files and name them.

    Raises:
        CommandError: the target is no name that Python imports, or one of the files is there.
    """
    named = TARGET.fullmatch(options.target)
    if named is None:
        raise CommandError(f"init needs package.module:attribute, which a test can import, not {options.target!r}")
    words = {**named.groupdict(), "version": __version__}
    texts = {Path(options.folder, name): text.format(**words) for name, text in FILES.items()}
    if there := [str(path) for path in texts if path.exists()]:
        raise CommandError(f"init overwrites nothing, and {' and '.join(there)} exists")
    written = write_texts(texts)
    sys.stdout.write("".join(f"written: {path}\n" for path in written))
    return OK
