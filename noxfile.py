"""The project's jobs. `nox -s audit` is the main one; arguments after `--` are passed to the command."""

import shutil
import tempfile
from pathlib import Path

import nox

WHEEL_BYTES = 600_000  # at most
FAMILY = "tests/hubrouter/test_*"
CHECK_SHAPES = "--jaxtyping-packages=hubrouter,beartype.beartype"  # makes a forward pass nearly twice as long

nox.options.default_venv_backend = "venv"
nox.options.sessions = ["audit"]
nox.options.reuse_existing_virtualenvs = True


def install(session: nox.Session, extras: str) -> None:
    """Install this project with the named extras, at the pinned versions."""
    session.install("-c", "constraints.txt", "-e", f".[{extras}]")


@nox.session
def audit(session: nox.Session) -> None:
    """Gather evidence on this machine, judge every claim, write reports/local/ and compare it with reports/."""
    install(session, "claims,kernels")
    session.run("hubrouter-audit", "claims", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests of the project itself; of the model family with every shape annotation checked at run time."""
    install(session, "claims,cluster,test")
    # In Triton's interpreter the checks of shapes take longer than the kernels.
    every = (
        ["tests/hubrouter", "--ignore=tests/hubrouter/kernels", CHECK_SHAPES],
        ["tests", f"--ignore-glob={FAMILY}"],
    )
    for chosen in [session.posargs] if session.posargs else every:
        session.run("pytest", "-n", "2", "--dist", "worksteal", *chosen)


@nox.session
def probes(session: nox.Session) -> None:
    """Run the leak probes, as after any change of the council."""
    install(session, "claims,test")
    session.run("pytest", "leak_probes", *session.posargs)


@nox.session
def peers(session: nox.Session) -> None:
    """Measure this auditor and causal-certificate on the same models, and write reports/local/."""
    install(session, "claims,peers")
    session.run("hubrouter-audit", "peers", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure the layer against others on this machine, and write reports/local/."""
    install(session, "claims,kernels")
    session.run("hubrouter-audit", "bench", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, formatting, types and the import contract."""
    install(session, "claims,cluster,test,lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("lint-imports")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation into site/, where any warning is an error; `-- serve` shows it while it is written."""
    extra = nox.project.load_toml("pyproject.toml")["project"]["optional-dependencies"]["docs"]
    session.install("-c", "constraints.txt", *extra)  # the code is read, not imported: neither torch nor the project
    session.env.update({"COLUMNS": "80", "NO_MKDOCS_2_WARNING": "1"})
    session.run("python", "-m", "mkdocs", *(session.posargs or ["build"]))


@nox.session
def mutations(session: nox.Session) -> None:
    """Make mistakes in copies of the council, and see which leak probe catches each after how long."""
    install(session, "claims,test")
    session.run("python", "leak_probes/mutations.py", *session.posargs)


@nox.session
def callbacks(session: nox.Session) -> None:
    """Run the tests of the callbacks with the trainers they are for."""
    install(session, "test,trainers")
    session.run("pytest", "tests/callbacks", *session.posargs)


@nox.session
def faults(session: nox.Session) -> None:
    """Inject faults: random command lines, odd targets, kills, full disks, and models compared before and after."""
    install(session, "claims,test")
    files = [f"tests/faults/{name}.py" for name in ("command_lines", "kills", "subjects")]
    states = ["evidence/test_evidence_states", "experiments/test_checkpoint_states", "report/test_write_states"]
    files += [f"tests/{name}.py" for name in states]
    session.run("pytest", "-s", "-n", "0", "--hypothesis-profile", "faults", *files, *session.posargs)


@nox.session
def build(session: nox.Session) -> None:
    """Make wheel and sdist in dist/, check them, and audit with the wheel in an environment of its own."""
    session.install("build", "twine")
    shutil.rmtree("dist", ignore_errors=True)
    session.run("python", "-m", "build")
    made = sorted(str(file.resolve()) for file in Path("dist").iterdir())
    session.run("twine", "check", "--strict", *made)
    (wheel,) = (file for file in made if file.endswith(".whl"))
    if (size := Path(wheel).stat().st_size) > WHEEL_BYTES:
        session.error(f"the wheel has {size} bytes, more than {WHEEL_BYTES}")
    constraints = str(Path("constraints.txt").resolve())
    with tempfile.TemporaryDirectory() as fresh, session.chdir(fresh):  # away from the checkout
        session.run("python", "-m", "venv", "environment")
        python = str(Path(fresh, "environment", "bin", "python"))
        session.run(python, "-m", "pip", "install", "-c", constraints, wheel, "pytest", external=True)
        model = ("audits.leaks.hub_selection_in_chunk:clean", "--seq-len", "24")
        subject = ("--causality-subject", model[0], "--causality-seq-len", "24", "-k", "gradient")
        called = "from audits import audit; from torch import nn; print(audit(nn.Embedding(5, 4), seq_len=8).verdict)"
        session.run(python, "-m", "audits", "model", *model, "--preset", "quick", external=True)
        session.run(python, "-m", "audits", "bet", *model, "--steps", "3", external=True)
        session.run(python, "-m", "pytest", *subject, external=True)
        session.run(python, "-c", called, external=True)


@nox.session
def pins(session: nox.Session) -> None:
    """Write requirements-ci.txt: all that the tests need but torch, with hashes, in the versions of constraints.txt."""
    session.install("uv")
    excluded = Path(session.create_tmp(), "excluded.txt")
    excluded.write_text("torch\n")  # its builds for CPU and CUDA have other hashes
    extras = [f"--extra={name}" for name in ("claims", "cluster", "test", "lint")]
    how = ["--universal", "--python-version=3.11", "--generate-hashes", "--no-annotate", f"--excludes={excluded}"]
    told = ["--quiet", "--custom-compile-command=nox -s pins", "--output-file=requirements-ci.txt"]
    session.run("uv", "pip", "compile", "pyproject.toml", *extras, "-c", "constraints.txt", *how, *told)


@nox.session
def sbom(session: nox.Session) -> None:
    """Install requirements-ci.txt, hashes checked, and this project; list all that is there in dist/sbom.json."""
    session.install("cyclonedx-bom")
    Path("dist").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as fresh:
        session.run("python", "-m", "venv", fresh)
        python = str(Path(fresh, "bin", "python"))
        hashed = ["--require-hashes", "--no-deps", "-r", "requirements-ci.txt"]
        session.run(python, "-m", "pip", "install", *hashed, external=True)
        session.run(python, "-m", "pip", "install", "-c", "constraints.txt", ".[claims]", external=True)  # and torch
        options = ["--pyproject", "pyproject.toml", "--output-reproducible", "--output-file", "dist/sbom.json"]
        session.run("cyclonedx-py", "environment", *options, python)
