"""With `--isolate` a verdict exists only if the child handed it over: the target cannot end, hang or fake it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from audits.__main__ import main
from audits.cli import _isolation

# Instead of the audit, so that the children start quickly: each target is imported by a command that ends with `CODE`.
CHILD = """
import json, sys
sys.argv.pop(1)
from audits.cli._isolation import handover
parent = handover()
exec(open(sys.argv[2].removesuffix(':model')).read())
parent.give(1)
sys.exit(1)
"""
ENDS = {
    "plain": ("pass", 1),
    "os._exit(0)": ("import os; os._exit(0)", 2),
    "a crash": ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", 2),
    "the memory killer": ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 2),
    "atexit": ("import atexit, os; atexit.register(os._exit, 0)", 1),
    "a thread that stays": ("import threading, time; threading.Thread(target=time.sleep, args=(60,)).start()", 1),
    "a hang at exit": ("import atexit, time; atexit.register(time.sleep, 60)", 1),
    "sys.exit(0)": ("sys.exit(0)", 2),
    "a fork": ("import os; os.fork()", 1),
    "a forked verdict": ("import os\nif os.fork() == 0: parent.give(0); os._exit(0)\nos.wait()", 1),
    "a code without the nonce": ("parent._nonce = 'guessed'", 2),
    "a hang": ("import time; time.sleep(60)", 3),
}


@pytest.mark.parametrize("name", ENDS)
def test_only_what_the_child_hands_over_counts(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    text, code = ENDS[name]
    (tmp_path / "target.py").write_text(text)
    monkeypatch.setattr(_isolation, "_CHILD", CHILD)
    monkeypatch.setattr(_isolation, "FAREWELL", 1.0)
    monkeypatch.setattr(_isolation, "PATIENCE", 4.0)
    budget = ["--budget", "0.1"] if name == "a hang" else []
    before = time.monotonic()
    assert main(["model", f"{tmp_path}/target.py:model", "--isolate", *budget]) == code
    assert time.monotonic() - before < 30
    assert capfd.readouterr().err.count("\n") == (code != 1)


def test_an_isolated_audit_prints_and_writes_as_any_other(tmp_path: Path) -> None:
    words = ["audits.leaks.hub_selection_in_chunk:leaky", "--seq-len", "8", "--probes", "perturbation", "--json", "-"]
    runs = [
        subprocess.run([sys.executable, "-m", "audits", "model", *words, *more], capture_output=True, text=True)
        for more in ([], ["--isolate"])
    ]
    documents = [json.loads(run.stdout) for run in runs]
    for document in documents:
        document["probes"][0].pop("seconds")
    assert documents[0] == documents[1]
    assert runs[0].returncode == runs[1].returncode


def test_a_child_ends_with_its_parent_and_an_interrupt_is_130(tmp_path: Path) -> None:
    target = tmp_path / "slow.py"
    target.write_text("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(60)")
    asked = [sys.executable, "-m", "audits", "model", f"{target}:model", "--isolate"]
    for number, code in ((signal.SIGKILL, -9), (signal.SIGINT, 130)):
        with subprocess.Popen(
            asked, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        ) as parent:
            child = int(parent.stdout.readline())
            os.kill(parent.pid, number) if number == signal.SIGKILL else os.killpg(parent.pid, number)
            _, said = parent.communicate(timeout=60)
        assert parent.returncode == code
        assert said.count("\n") == (code == 130)
        for _ in range(100):
            if not Path(f"/proc/{child}").exists() or "Z" in Path(f"/proc/{child}/stat").read_text().split()[2]:
                break
            time.sleep(0.1)
        else:
            pytest.fail("the child goes on")
