"""The project's jobs. `nox -s audit` is the main one; arguments after `--` are passed to the command."""

import shutil
from pathlib import Path

import nox

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
    """Run the tests of the project itself."""
    install(session, "claims,cluster,test")
    session.run("pytest", "tests", "-n", "2", *session.posargs)


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
def mutations(session: nox.Session) -> None:
    """Make mistakes in copies of the council, and see which leak probe catches each after how long."""
    install(session, "claims,test")
    session.run("python", "leak_probes/mutations.py", *session.posargs)


@nox.session
def build(session: nox.Session) -> None:
    """Make wheel and sdist in dist/, check them, and audit with the wheel in an environment of its own."""
    session.install("build", "twine")
    shutil.rmtree("dist", ignore_errors=True)
    session.run("python", "-m", "build")
    made = sorted(str(file.resolve()) for file in Path("dist").iterdir())
    session.run("twine", "check", "--strict", *made)
    fresh = Path(session.create_tmp()).resolve() / "fresh"
    session.run("python", "-m", "venv", "--clear", str(fresh))
    python, constraints = str(fresh / "bin" / "python"), str(Path("constraints.txt").resolve())
    (wheel,) = (file for file in made if file.endswith(".whl"))
    session.run(python, "-m", "pip", "install", "-c", constraints, wheel, external=True)
    with session.chdir(fresh):  # away from the checkout
        target = "audits.leaks.hub_selection_in_chunk:clean"
        session.run(python, "-m", "audits", "model", target, "--preset", "quick", external=True)
