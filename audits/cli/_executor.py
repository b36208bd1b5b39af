"""The options that say where runs are executed and where they keep their state."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch

from audits.cli._exits import CommandError
from audits.evidence.executors.executor import Executor, ExecutorError
from audits.evidence.executors.local import LocalExecutor
from audits.evidence.machine import cache_folder


def checkpoint_folder(options: argparse.Namespace) -> Path | None:
    """Where runs keep their state; None where nothing was asked for and the cache cannot be written.

    Raises:
        CommandError: the folder that was asked for cannot be written.
    """
    cache = cache_folder()
    folder = Path(options.checkpoints) if options.checkpoints else cache / "checkpoints" if cache else None
    if folder is None:
        return None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        usable = os.access(folder, os.W_OK | os.X_OK)
    except OSError:
        usable = False
    if options.checkpoints and not usable:
        raise CommandError(f"checkpoints {folder}: not a folder that can be written; choose another")
    return folder.absolute() if usable else None


def chosen_executor(options: argparse.Namespace, folder: Path | None) -> Executor:
    """The executor that was asked for.

    Raises:
        CommandError: the device is none.
        ExecutorError: it cannot be used here.
    """
    try:
        torch.device(options.device)
    except RuntimeError as problem:
        raise CommandError(f"device {options.device!r}: {str(problem).splitlines()[0]}") from problem
    slurm = {key: value for key, _, value in (text.partition("=") for text in options.slurm)}
    if options.executor == "local":
        if slurm:
            raise ExecutorError("options for Slurm were given, but the executor is local; add --executor slurm")
        return LocalExecutor(options.device, options.workers)
    if folder is None:
        raise ExecutorError("no folder to share with the cluster's nodes: give one with --checkpoints DIR")
    try:
        from audits.evidence.executors.slurm import SlurmExecutor
    except ImportError:
        raise ExecutorError(
            "--executor slurm needs submitit, which is not installed; pip install 'hubrouter-audit[cluster]'"
        ) from None
    return SlurmExecutor(folder / "slurm", slurm, at_a_time=options.workers)
