"""What all tests share: one thread a process, and an import path that no test leaves changed."""

import os
import sys
from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # read when triton is first imported: kernels then run on the CPU

# `nox -s faults` chooses it for the tests that compare sequences of operations with a model.
settings.register_profile("faults", max_examples=max(10, int(1000 * float(os.environ.get("FAULTS", "1")))))

torch.set_num_threads(1)  # tests run side by side; small tensors lose time to threads that wait for each other


@pytest.fixture(autouse=True)
def import_path() -> Iterator[None]:
    """Targets put their folders on the path; a worker process started later must not find them there."""
    before = list(sys.path)
    yield
    sys.path[:] = before


@pytest.fixture(autouse=True)
def no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """On GitHub too, a test's report does not belong on the summary page of the job that runs the tests."""
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
