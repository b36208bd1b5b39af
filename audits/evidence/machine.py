"""What a run was executed on: enough to judge whether a number may be compared, nothing that names whose machine."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from audits.evidence.definitions import ROOT

PROJECT = "hubrouter-audit"
CACHE_VARIABLE = "HUBROUTER_AUDIT_CACHE"


def environment(device: str = "cpu") -> dict[str, str]:
    """Versions and hardware as short texts, of the torch device too; no host name, user name or path."""
    described = {
        "project": _installed(PROJECT) or "not installed",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": cpu_model(),
        "cores": str(os.cpu_count() or "unknown"),
        "device": device_name(device),
    }
    triton = _installed("triton")
    return described | ({"triton": triton} if triton else {})


def commit(folder: Path = ROOT) -> str:
    """The checkout's commit, 12 hex digits, with a `+` where tracked files differ from it; empty outside a checkout."""
    git = shutil.which("git")
    if git is None or not (folder / ".git").exists():
        return ""
    asked = [git, "-C", str(folder), "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)  # noqa: S603 - fixed words and our own path
    return done.stdout.strip() if done.returncode == 0 else ""


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's marketing name where the system gives it, else its architecture."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def device_name(device: str) -> str:
    """The name of the GPU for a CUDA device that is there, else the device as given."""
    if torch.device(device).type == "cuda" and torch.cuda.is_available():
        return torch.cuda.get_device_name(device)
    return device


def cache_folder() -> Path | None:
    """For what can be made again: `HUBROUTER_AUDIT_CACHE`, else the user's XDG cache folder, None without a home."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / PROJECT
    except RuntimeError:
        return None


def _installed(package: str) -> str | None:
    """The installed version of a package, None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
