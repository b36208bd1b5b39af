"""The pytest plugin: the fixture `causality`, and `--causality-subject TARGET`, one test for each probe on a target.

pytest loads this file whenever it starts, so nothing here imports torch before it is used. PYTEST_DONT_REWRITE: a
conftest may have imported it before pytest does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from audits.results import AuditResult, CausalityError
from audits.subject.options import CONTRACT, INPUTS, TARGET, settings_of
from audits.subject.settings import Settings, SubjectError
from audits.testing.parametrize import require_pass

if TYPE_CHECKING:
    from audits.subject.subject import Model

PREFIX = "--causality-"
SUBJECT = "subject"
LOADED = pytest.StashKey[tuple["Model", Settings]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--causality-subject TARGET` and the options of its inputs."""
    add_options(parser.getgroup("causality", "causality audits of sequence models"), PREFIX)


def add_options(group: pytest.OptionGroup, prefix: str) -> None:
    """The subject and its inputs, as options of this prefix; whatever the prefix, they are the same options."""
    where = f"{TARGET}; its probes run in place of all other tests"
    group.addoption(prefix + SUBJECT, dest=_destination(SUBJECT), metavar="TARGET", help=where)
    # Of those of a contract some are pytest's own names.
    for name, details in (INPUTS | CONTRACT if prefix == PREFIX else INPUTS).items():
        group.addoption(prefix + name, dest=_destination(name), default=None, **details)


def subject_of(config: pytest.Config) -> str | None:
    """The target that is to be probed in place of all other tests."""
    target: str | None = config.getoption(_destination(SUBJECT))
    return target


def pytest_configure(config: pytest.Config) -> None:
    """Load the subject and call it once, so that a bad target is one line before any test runs."""
    target, inputs = subject_of(config), _given(config)
    if target is None:
        if inputs:
            raise pytest.UsageError(f"{', '.join(inputs)}: of what? Name a target with {PREFIX}{SUBJECT} too")
        return
    from audits.subject.prepare import prepare
    from audits.subject.target import load_target

    config.args = []  # nothing else is collected
    settings = settings_of({name.replace("-", "_"): value for name, value in inputs.items()})
    try:
        settings.check()
        model = load_target(target)
        with prepare(model, settings).preserve_state():
            config.stash[LOADED] = model, settings
    except SubjectError as problem:
        raise pytest.UsageError(str(problem)) from None


@pytest.hookimpl(tryfirst=True)  # before -k and the like choose among them
def pytest_collection_modifyitems(session: pytest.Session, items: list[pytest.Item]) -> None:
    """One test a probe where a subject is named."""
    if (target := subject_of(session.config)) is not None:
        items[:] = session.genitems(SubjectCollector.from_parent(session, name=target, nodeid=target))


@pytest.hookimpl(tryfirst=True)  # before the report is made of what the item holds
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Properties in JUnit XML for every test that fails by an audit: the verdict, each finding's class and place."""
    if call.excinfo is None or not isinstance(call.excinfo.value, CausalityError):
        return
    result = call.excinfo.value.result
    item.user_properties.append(("causality.verdict", str(result.verdict)))
    for finding in result.findings:
        found = {"leak_class": finding.leak_class, "file": finding.file, "line": finding.line}
        item.user_properties += [(f"causality.{name}", str(value)) for name, value in found.items() if value]


@pytest.fixture(scope="session")
def causality() -> Callable[..., None]:
    """`causality(model, vocab_size=100)` fails the test unless every applicable probe passes.

    It takes the arguments of `audits.audit`; the message names positions, class, file and line.
    """

    def check(model: Model, **options: Any) -> None:
        __tracebackhide__ = True
        from audits.auditor.guarded import assert_causal

        assert_causal(model, **options)

    return check


class SubjectCollector(pytest.Collector):
    """The subject, audited once with all probes: the finding of one helps to classify that of another."""

    def collect(self) -> Iterator[pytest.Item]:
        """One test a probe."""
        from audits.probes import all_probes

        return (ProbeItem.from_parent(self, name=probe.name) for probe in all_probes())

    @cached_property
    def result(self) -> AuditResult:
        """The audit, made when the first test asks for it."""
        from audits.auditor.guarded import audit

        model, settings = self.config.stash[LOADED]
        return audit(model, **vars(settings), target=self.name)


class ProbeItem(pytest.Item):
    """One probe on the subject."""

    def runtest(self) -> None:
        """Pass, skip or fail by the probe's result."""
        assert isinstance(self.parent, SubjectCollector)
        require_pass(self.parent.result, self.name)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException]) -> Any:  # type: ignore[override]
        """What was found, without our own frames."""
        return str(excinfo.value) if isinstance(excinfo.value, CausalityError) else super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, None, str]:
        """The name in the report; there is no file of the test's own."""
        return self.path, None, self.nodeid


def _given(config: pytest.Config) -> dict[str, Any]:
    """The options of the inputs that were given, by name."""
    values = {name: config.getoption(_destination(name), None) for name in (*INPUTS, *CONTRACT)}
    return {name: value for name, value in values.items() if value not in (None, False)}


def _destination(name: str) -> str:
    return "causality_" + name.replace("-", "_")
