"""Which packages of others each file may import, who may write files, and what works with torch alone.

Who imports whom within this project is a contract in pyproject.toml; test_import_contract.py shows that it can fail.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
WRITERS = (
    "audits/report/write.py",
    "audits/evidence/ledger.py",
    "audits/evidence/run_locks.py",  # an empty file, whose bytes are locked
    "audits/experiments/training/corpus.py",
    "audits/experiments/training/checkpoint.py",
    "audits/evidence/executors/slurm.py",  # which job executes a run
    "audits/evidence/executors/slurm_run.py",  # what it reports
)
WRITING_METHODS = ("write_text", "write_bytes", "mkstemp", "NamedTemporaryFile", "TemporaryFile", "savez", "savetxt")
FILE_FUNCTIONS = {"os": ("open", "replace", "rename", "remove"), "torch": ("save",), "json": ("dump",)}


def sources() -> dict[str, str]:
    """The package's files by their path from the repository root."""
    folders = [folder for name in ("hubrouter", "audits", "tests") for folder in [ROOT / name] if folder.is_dir()]
    files = sorted(file for folder in folders for file in folder.rglob("*.py"))
    return {file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8") for file in files}


def imported(path: str, text: str) -> Iterator[str]:
    """Dotted names of all imports, inside functions too; `from a import b` gives `a.b`, relative ones made absolute."""
    package = path.removesuffix(".py").split("/")[:-1]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            yield from (f"{base}.{name.name}" for name in node.names)


def inside(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def may_not_import(path: str, name: str) -> str | None:
    """Why the file may not import this name; None if it may."""
    folder, top = path.rpartition("/")[0], name.split(".")[0]
    kernels = inside(folder.replace("/", "."), "hubrouter.kernels") or folder.split("/")[0] == "tests"
    if top == "triton" and not kernels:
        return "triton belongs to hubrouter/kernels"
    if top == "mamba_ssm" and path != "hubrouter/selective_scan/fused.py":
        return "mamba-ssm belongs to hubrouter/selective_scan/fused.py"
    if top == "bm25s" and path == "hubrouter/diagnostic/bm25.py":
        return None
    if top in ("tests", "leak_probes"):
        return f"nothing imports {top}"
    if folder.split("/")[0] == "hubrouter":
        allowed = {"torch", "jaxtyping", "hubrouter", "triton", *sys.stdlib_module_names}
        return None if top in allowed else "hubrouter imports torch and jaxtyping only"
    if top == "hubrouter" and folder == "audits/leaks" and not knows_the_layer(path):
        return "the auditor does not know the defendant"
    return None


def knows_the_layer(path: str) -> bool:
    return path.startswith(("audits/leaks/hub_", "audits/leaks/_hub."))


def writes(text: str) -> Iterator[str]:
    """Calls that write, replace or create files."""
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        owner = (
            function.value.id if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) else ""
        )
        modes = [a.value for a in (*node.args, *(k.value for k in node.keywords)) if isinstance(a, ast.Constant)]
        mode = next((m for m in modes if isinstance(m, str) and set(m) <= set("rwxab+t")), "r")
        if name == "open" and owner != "os" and set(mode) & set("wxa+"):
            yield f"open(…, {mode!r})"
        elif (name in WRITING_METHODS and isinstance(function, ast.Attribute)) or name in FILE_FUNCTIONS.get(owner, ()):
            yield f"{owner}.{name}"


def violations(files: dict[str, str]) -> list[str]:
    """One line for each broken rule."""
    found = []
    for path, text in files.items():
        refused = ((name, may_not_import(path, name)) for name in imported(path, text))
        found += [f"{path} imports {name}: {why}" for name, why in refused if why]
        if not path.startswith("tests/") and path not in WRITERS:
            found += [f"{path} writes files: {call}" for call in writes(text)]
    return found


def test_every_import_and_every_written_file_follows_the_rules():
    assert violations(sources()) == []


def test_the_rules_are_held_against_the_whole_package():
    paths = sources()
    assert {path.split("/")[0] for path in paths} == {"hubrouter", "audits", "tests"}
    assert set(WRITERS) <= set(paths)
    assert [path for path in paths if knows_the_layer(path)]


BROKEN = [
    ("hubrouter/encode.py", "import audits", "torch and jaxtyping only"),
    ("hubrouter/encode.py", "from audits.leaks._planted import PlantedLeak", "torch and jaxtyping only"),
    ("hubrouter/encode.py", "import numpy as np", "torch and jaxtyping only"),
    ("hubrouter/mixers/hub.py", "def f():\n    import einops", "torch and jaxtyping only"),
    ("hubrouter/encode.py", "import triton.language as tl", "belongs to hubrouter/kernels"),
    ("audits/probes/decode.py", "import triton", "belongs to hubrouter/kernels"),
    ("hubrouter/mixers/mamba.py", "def f():\n    import mamba_ssm", "belongs to hubrouter/selective_scan/fused.py"),
    ("audits/leaks/needle.py", "def f():\n    from hubrouter import HubRouter", "does not know the defendant"),
    ("audits/auditor/audit.py", "import leak_probes", "nothing imports leak_probes"),
    ("tests/test_a.py", "from tests.test_b import helper", "nothing imports tests"),
    ("audits/auditor/audit.py", "open('a', 'w')", "writes files"),
    ("audits/auditor/audit.py", "path.open(mode='ab')", "writes files"),
    ("audits/auditor/audit.py", "Path('a').write_text('b')", "writes files"),
    ("audits/auditor/audit.py", "os.replace(a, b)", "writes files"),
    ("audits/auditor/audit.py", "torch.save(a, b)", "writes files"),
]


@pytest.mark.parametrize(("path", "text", "why"), BROKEN)
def test_a_broken_rule_is_named(path, text, why):
    found = violations({path: text})
    assert len(found) == 1
    assert found[0].startswith(path)
    assert why in found[0]


ALLOWED = [
    ("hubrouter/kernels/scan.py", "import triton"),
    ("hubrouter/router.py", "from hubrouter.encode import Encode\nimport torch\nimport dataclasses\nimport jaxtyping"),
    ("audits/leaks/hub_own_chunk_summary.py", "from hubrouter import HubRouter"),
    ("audits/leaks/_hub.py", "from hubrouter import HubRouter"),
    ("audits/experiments/bench/layer_cost.py", "from hubrouter import HubRouter"),
    (
        "audits/probes/decode.py",
        "from audits.instruments.probe import Probe\nopen('data')\npath.open('rb')\n'a'.replace('b', 'c')",
    ),
    ("audits/report/write.py", "path.open('w')"),
    ("audits/cli/model.py", "from audits.report.write import write_text\nwrite_text(path, text)"),
    ("audits/statistics/t_test.py", "import numpy"),
    ("tests/test_a.py", "import hubrouter\nimport audits\nopen('a', 'w')"),
]


@pytest.mark.parametrize(("path", "text"), ALLOWED)
def test_what_the_rules_allow_is_not_reported(path, text):
    assert violations({path: text}) == []


BASE = ("numpy", "rich")  # what the command line needs beyond torch
WITHOUT = (
    *BASE,
    "scipy",
    "msgspec",
    "packaging",
    "jaxtyping",
    "beartype",
    "tokenizers",
    "transformers",
    "triton",
    "mamba_ssm",
)
WITH_TORCH_ALONE = """
import sys

class Without:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        hidden = name.split(".")[0] in {without!r}
        return None if hidden else self.finder.find_spec(name, path, target)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
import warnings
warnings.filterwarnings("ignore", message="Failed to initialize NumPy")
{code}
print("done", [name for name in {without!r} if name in sys.modules])
"""


def run_alone(code: str, also: tuple[str, ...] = ()) -> str:
    """What the code prints where nothing but torch, and what is named `also`, can be imported."""
    script = WITH_TORCH_ALONE.format(without=tuple(name for name in WITHOUT if name not in also), code=code)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, timeout=120)
    return done.stdout + done.stderr


TOY = """
import torch

def make():
    return torch.nn.Sequential(torch.nn.Embedding(5, 4), torch.nn.Linear(4, 5))
"""


def test_the_model_needs_torch_alone():
    code = """
import torch, hubrouter
model = hubrouter.SequenceModel(hubrouter.ModelConfig(7, "HAM", d_model=8, n_heads=2))
assert model.generate(torch.zeros(1, 3, dtype=torch.long), 2).shape == (1, 5)
assert "audits" not in sys.modules"""
    assert "done []" in run_alone(code)


def test_the_auditor_needs_torch_alone_and_not_the_layer():
    code = """
import torch
from audits import audit
result = audit(torch.nn.Sequential(torch.nn.Embedding(5, 4), torch.nn.Linear(4, 5)), seq_len=6)
assert result.verdict == "PASS", result
assert "hubrouter" not in sys.modules"""
    assert "done []" in run_alone(code)


def test_the_commands_on_a_model_need_torch_numpy_and_rich_alone(tmp_path):
    (tmp_path / "toy.py").write_text(TOY)
    options = [f"--{name}={tmp_path / name}" for name in ("json", "sarif", "html", "junit", "badge")]
    code = f"""
import argparse
from audits.cli import bet, model
from audits.cli._commands import COMMANDS
parser = argparse.ArgumentParser()
COMMANDS["model"].add_options(parser)
code = model.run(parser.parse_args(["{tmp_path}/toy.py:make", "--seq-len=6", "--probes=gradient", *{options!r}]))
assert code == 0, code"""
    assert "done []" in run_alone(code, also=BASE)
    assert all((tmp_path / name).stat().st_size for name in ("json", "sarif", "html", "junit", "badge"))


def test_running_alone_would_show_a_missing_package():
    assert "No module named 'rich'" in run_alone("import rich")
