"""Lines of the subject's source: the current Python stack without the frames of torch and of the instruments."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from audits.subject import operations
from audits.subject.subject import Subject

# The instruments in this folder, what calls the subject, and torch; code made from a string has no file.
_HIDDEN = (*(str(Path(file).parent) + os.sep for file in (__file__, operations.__file__, torch.__file__)), "<")


@dataclass(frozen=True)
class Frame:
    """A line of the subject's source."""

    file: str
    line: int
    function: str


def user_frames() -> tuple[Frame, ...]:
    """The current Python stack from the innermost line of the subject outwards, without torch and the instruments."""
    frames = []
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if frame.f_code is Subject.call.__code__:
            break
        if not file.startswith(_HIDDEN):
            frames.append(Frame(file, frame.f_lineno, frame.f_code.co_name))
        frame = frame.f_back  # type: ignore[assignment] # the loop ends with None
    return tuple(frames)


def display_path(file: str) -> str:
    """A file's path for messages: relative where it lies below the working directory."""
    relative = os.path.relpath(file)
    return file if relative.startswith("..") else relative
