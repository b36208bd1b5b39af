"""`pytest leak_probes/ --subject TARGET`, how Hypothesis searches, and how many processes it takes.

Without `--subject` the repository's own models are probed; with it, the named model alone, by the pytest plugin.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest
import torch
from checks import LeakError
from hypothesis import Phase, settings

from audits.testing import plugin

pytest_plugins = [plugin.__name__]  # where the package is not installed, as in a fresh checkout

# No deadline: time depends on the machine, not on the model. `--hypothesis-seed` fixes what is drawn. Explaining which
# arguments matter would double the time of a failure; a shrunk case shows them already.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate, Phase.target, Phase.shrink)
settings.register_profile("leak-probes", deadline=None, report_multiple_bugs=False, phases=PHASES)
settings.load_profile("leak-probes")

PROCESSES = 2
FIRST = "test_layers.py"  # the layer that is changed most, under its fastest checks


def pytest_addoption(parser: pytest.Parser) -> None:
    """The plugin's options by the names of `hubrouter-audit model`: they cannot collide with others here."""
    plugin.add_options(
        parser.getgroup("leak probes", "audit anyone's model: pytest leak_probes/ --subject TARGET"), "--"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Two processes where pytest-xdist is installed, unless a subject, a single test or something else is asked for."""
    asked = plugin.subject_of(config) or any(config.getoption(name, None) for name in ("usepdb", "collectonly"))
    given = config.getoption("numprocesses", None) is not None
    single = any("::" in argument for argument in config.args)
    worker = hasattr(config, "workerinput")  # its process is one of the two
    if config.pluginmanager.hasplugin("xdist") and not (asked or given or single or worker):
        config.option.numprocesses = min(PROCESSES, os.cpu_count() or 1)


def pytest_configure(config: pytest.Config) -> None:
    """What the models of this repository need; they are tiny, so that more threads would slow them down."""
    if plugin.subject_of(config) is None:
        torch.set_num_threads(1)
        os.environ["TRITON_INTERPRET"] = "1"  # read when triton is first imported; kernels then run on the CPU


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests of the hub layer first."""
    items.sort(key=lambda item: item.path.name != FIRST)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Under a failed check, where in the source it enters: looked for once, in the minimal case."""
    report = yield
    if call.excinfo is not None and isinstance(call.excinfo.value, LeakError) and (place := call.excinfo.value.place()):
        report.sections.append(("where it enters", place))
    return report
