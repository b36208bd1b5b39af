"""`pytest leak_probes/ --subject TARGET`: somebody's model, one test a probe, and one line for a bad target."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from audits.probes import all_probes

ROOT = Path(__file__).resolve().parent.parent
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}  # tests run side by side
SMALL = ("--seq-len", "12", "--batch", "8")


def probe(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "leak_probes", "-p", "no:cacheprovider", *options]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=600, env=ONE_THREAD)


def test_a_causal_subject_passes_every_probe():
    done = probe("--subject", "audits.leaks.hub_bidirectional_council:clean", *SMALL)
    assert done.returncode == 0, done.stdout
    # It takes neither packed documents nor a padding mask.
    assert f"{len(all_probes()) - 2} passed, 2 skipped" in done.stdout
    assert "test_layers" not in done.stdout


def test_a_leaky_subject_fails_with_the_place_and_a_line_to_reproduce():
    target = "audits.leaks.hub_bidirectional_council:leaky"
    done = probe("--subject", target, "-rf", *SMALL)
    assert done.returncode == 1
    assert f"FAILED {target}::perturbation - " in done.stdout
    assert "dense leak at hubrouter/" in done.stdout
    assert f"reproduce: hubrouter-audit model {target} --vocab-size 32 --seq-len 12" in done.stdout


def test_a_probe_with_nothing_to_look_at_is_skipped_with_its_reason():
    features = ("--input", "features", "--width", "16", *SMALL)
    done = probe("--subject", "audits.leaks.same_padding:clean", "-rs", *features)
    assert done.returncode == 0, done.stdout
    assert "3 skipped" in done.stdout
    assert "not applicable: the model offers no stream" in done.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--subject", "nowhere:model"), "No module named 'nowhere'"),
        (("--subject", "audits.leaks.needle:clean", "--seq-len", "1"), "seq_len=1 leaves no earlier position"),
        (("--subject", "audits.leaks.needle:clean", "--device", "nonsense"), "device 'nonsense' cannot be used here"),
        (("--vocab-size", "5"), "vocab-size: of what? Name a target with --causality-subject too"),
    ],
)
def test_what_cannot_run_is_one_line_and_no_traceback(options, message):
    done = probe(*options)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert len(lines) == 1
    assert lines[0].startswith("ERROR: ")
    assert message in lines[0]
