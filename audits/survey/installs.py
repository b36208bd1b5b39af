"""Pinned packages, each with its requirements in a folder of its own, so that versions of two of them cannot meet."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

from audits.evidence.machine import cache_folder
from audits.survey.library import NotBuiltError

_PIP = (sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "--no-deps")


def installed(requirements: Sequence[str]) -> Path:
    """The folder with these packages and no others; pip fills it where it does not exist yet.

    Args:
        requirements: the package and all that it needs beside torch, each as name==version.

    Raises:
        NotBuiltError: pip cannot install them.
    """
    digest = hashlib.sha256("\n".join(requirements).encode()).hexdigest()[:8]
    home = (cache_folder() or Path(gettempdir())) / "packages" / f"{requirements[0].replace('==', '-')}-{digest}"
    folder = home / "site-packages"
    if not folder.exists():
        home.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix="unfinished-", dir=home) as unfinished:
            _install(requirements, Path(unfinished, folder.name))
            try:
                Path(unfinished, folder.name).rename(folder)
            except OSError:  # another process was faster
                if not folder.exists():
                    raise
    return folder


def _install(requirements: Sequence[str], folder: Path) -> None:
    command = [*_PIP, "--target", str(folder), *requirements]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - the table's requirements
    if done.returncode:
        lines = done.stderr.splitlines() or [f"exit code {done.returncode}"]
        error = next((line for line in reversed(lines) if line.startswith("ERROR: ")), lines[-1])
        raise NotBuiltError(f"cannot be installed: {error.removeprefix('ERROR: ')[:300]}")
