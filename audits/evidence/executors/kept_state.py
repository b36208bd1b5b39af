"""Keeps what a run removes too early: a checkpoint goes when its run is recorded, not when the run has trained.

Training removes its checkpoint when it ends, before evaluation, audit and the record. So at each reported progress the
files of the folder get a second name (a hard link), from which a run that is begun again gets them back. Where a file
system has no hard links, a kill after training costs the training.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

KEPT = "kept"  # the folder of the second names, within the run's own


def keep(folder: Path) -> None:
    """Give every file of the run's folder a second name, and take it from a file that was replaced."""
    with suppress(OSError):
        for file in [file for file in folder.iterdir() if file.is_file()]:
            second = folder / KEPT / file.name
            second.parent.mkdir(exist_ok=True)
            if not second.exists() or not second.samefile(file):
                second.unlink(missing_ok=True)
                os.link(file, second)


def restore(folder: Path) -> None:
    """Give back what was removed; a file that is there is newer, and stays."""
    with suppress(OSError):
        for second in (folder / KEPT).iterdir():
            if not (folder / second.name).exists():
                os.link(second, folder / second.name)
