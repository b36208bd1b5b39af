"""The lines of the subject's source: its own, without those of the instruments and of torch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from audits.instruments import locate, source_lines
from audits.instruments.source_lines import user_frames
from audits.instruments.tracing import tracer
from audits.leaks import needle
from audits.subject.prepare import prepare
from audits.subject.settings import Settings


def files_seen(file: str, name: str = "f") -> list[str]:
    """The files on the stack as a function of this file sees them."""
    scope: dict[str, Callable[[], list[str]]] = {"look": lambda: [frame.file for frame in user_frames()]}
    exec(compile(f"def {name}():\n    return look()", file, "exec"), scope)
    return scope[name]()


@pytest.mark.parametrize("module", [locate, source_lines, tracer, torch], ids=lambda module: module.__name__)
def test_our_instruments_and_torch_are_not_the_subjects_source(module):
    assert module.__file__ not in files_seen(module.__file__)


@pytest.mark.parametrize("file", [needle.__file__, "/home/me/subject.py", "/home/me/instruments/locate.py"])
def test_a_planted_leak_and_somebodys_file_are_whatever_they_are_called(file):
    assert file in files_seen(file, "call")


def test_the_stack_ends_where_the_subject_is_called():
    seen = []

    def model(tokens):
        seen.extend(frame.function for frame in user_frames())
        return torch.zeros(*tokens.shape, 5)

    subject = prepare(model, Settings(vocab_size=5, seq_len=4))
    seen.clear()
    subject.run(subject.base())
    assert seen[0] == "model"
    assert "test_the_stack_ends_where_the_subject_is_called" not in seen
