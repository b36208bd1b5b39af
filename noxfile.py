"""The project's jobs. `nox -s audit` is the main one; arguments after `--` are passed to the command."""

import nox

nox.options.default_venv_backend = "venv"
nox.options.sessions = ["audit"]
nox.options.reuse_existing_virtualenvs = True


def install(session: nox.Session, extras: str) -> None:
    """Install this project with the named extras, at the pinned versions."""
    session.install("-c", "constraints.txt", "-e", f".[{extras}]")


@nox.session
def audit(session: nox.Session) -> None:
    """Gather fresh evidence on this machine, judge every claim and rewrite reports/."""
    install(session, "audit,kernels")
    session.run("hubrouter-audit", "claims", "--fresh", "--page", "docs/what-each-probe-sees.md", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests of the project itself."""
    install(session, "audit,cluster,test")
    session.run("pytest", "tests", "-n", "2", *session.posargs)


@nox.session
def probes(session: nox.Session) -> None:
    """Run the leak probes, as after any change of the council."""
    install(session, "audit,test")
    session.run("pytest", "leak_probes", *session.posargs)


@nox.session
def peers(session: nox.Session) -> None:
    """Measure this auditor and causal-certificate on the same models, and rebuild reports/."""
    install(session, "audit,peers")
    session.run("hubrouter-audit", "peers", "--fresh", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure the layer against others on this machine, and rebuild reports/."""
    install(session, "audit,kernels")
    session.run("hubrouter-audit", "bench", "--fresh", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, formatting, types and the import contract."""
    install(session, "audit,cluster,test,lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("lint-imports")
