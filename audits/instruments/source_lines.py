"""Lines of the subject's source: the live Python stack without torch's frames and our own."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from audits.subject.subject import Subject

# The instruments in this folder and torch; what was made from a string has no file.
_OWN = (str(Path(__file__).parent) + os.sep, str(Path(torch.__file__).parent), "<")


@dataclass(frozen=True)
class Frame:
    """A line of the subject's source."""

    file: str
    line: int
    function: str


def user_frames() -> tuple[Frame, ...]:
    """The live Python stack from the innermost line of the subject outwards, torch's and our own lines left out."""
    frames = []
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if frame.f_code is Subject.call.__code__:
            break
        if not file.startswith(_OWN):
            frames.append(Frame(file, frame.f_lineno, frame.f_code.co_name))
        frame = frame.f_back  # type: ignore[assignment] # the loop ends with None
    return tuple(frames)


def shown(file: str) -> str:
    """A file as users know it: relative where it lies below the working directory."""
    relative = os.path.relpath(file)
    return file if relative.startswith("..") else relative
