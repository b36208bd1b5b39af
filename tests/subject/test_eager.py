"""Subjects run uncompiled, and the compiler is loaded only if the subject loads it; apart, where nothing is loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLAIN = """
import sys
from audits import audit
from auditor_models import VOCAB, Attention, Tokens
print(audit(Tokens(Attention()), vocab_size=VOCAB, seq_len=8).verdict)
print([name for name in ("torch._dynamo", "scipy", "matplotlib") if name in sys.modules])
"""
COMPILES = """
import sys
import torch
from torch import nn
from audits import audit

def backend(graph, inputs):
    raise RuntimeError("compiled after all")

class Mean(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(11, 8)

    def forward(self, tokens):
        if tokens.shape[1] < 4:
            return self.embedding(tokens)
        compiled = torch.compile(lambda x: x - x.mean(1, keepdim=True), backend=backend, fullgraph=True)
        return compiled(self.embedding(tokens))

assert "torch._dynamo" not in sys.modules
finders, model = list(sys.meta_path), Mean()
for _ in range(2):
    print(audit(model, seq_len=8, probes=["perturbation"]).probes[0].why)
assert "torch._dynamo" in sys.modules
assert sys.meta_path == finders
try:
    model(torch.zeros(1, 8, dtype=torch.int64))
except Exception as problem:
    print("compiled after all" in str(problem))
"""


def printed(code: str) -> list[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


def test_an_audit_loads_no_compiler_and_no_library_of_the_reports():
    assert printed(PLAIN) == ["PASS", "[]"]


def test_a_model_that_loads_the_compiler_in_its_forward_pass_runs_uncompiled_and_compiles_again_afterwards():
    first, second, compiled = printed(COMPILES)
    assert first == second
    assert first.startswith("changing position")
    assert compiled == "True"
