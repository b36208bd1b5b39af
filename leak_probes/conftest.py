"""The options of `pytest leak_probes/ --subject TARGET`, and how Hypothesis searches.

Without `--subject` the repository's own models are probed; with it, the named model alone.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch
from hypothesis import Phase, settings

from audits.subject.prepare import prepare
from audits.subject.settings import DTYPES, Settings, SubjectError
from audits.subject.subject import Model
from audits.subject.target import load_target

# No deadline: time depends on the machine, not on the model. `--hypothesis-seed` fixes what is drawn. Explaining which
# arguments matter would double the time of a failure; a shrunk case shows them already.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate, Phase.target, Phase.shrink)
settings.register_profile("leak-probes", deadline=None, print_blob=True, phases=PHASES)
settings.load_profile("leak-probes")

PROCESSES = 2
FIRST = "test_layers.py"  # the layer that is changed most, under its fastest checks
SUBJECT = pytest.StashKey[Model]()
SETTINGS = pytest.StashKey[Settings]()
DETAILS: dict[str, dict[str, Any]] = {
    "--input": {"choices": ("tokens", "features"), "help": "what the model takes (tokens)"},
    "--vocab-size": {"type": int, "metavar": "V", "help": "read from the model where absent"},
    "--width": {"type": int, "metavar": "D", "help": "features per position, for --input features"},
    "--seq-len": {"type": int, "metavar": "N", "help": f"tokens per sequence ({Settings.seq_len})"},
    "--batch": {"type": int, "metavar": "B", "help": f"rows in one forward pass, at most ({Settings.batch})"},
    "--seed": {"type": int, "metavar": "S", "help": "of everything drawn (0)"},
    "--dtype": {"choices": tuple(DTYPES), "help": "float64 where the model can be cast, else its own"},
    "--documents": {"metavar": "NAME", "help": "an argument that must isolate packed documents"},
    "--device": {"metavar": "NAME", "help": "cpu"},
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--subject` and its inputs; the options of `hubrouter-audit model`."""
    group = parser.getgroup("leak probes", "audit anyone's model: pytest leak_probes/ --subject TARGET")
    group.addoption("--subject", metavar="TARGET", help="package.module:attribute or path/to/file.py:attribute")
    for name, details in DETAILS.items():
        group.addoption(name, dest=_destination(name), default=None, **details)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Two processes where pytest-xdist is installed, unless a subject, a single test or something else is asked for."""
    asked = any(config.getoption(name, None) for name in ("subject", "numprocesses", "usepdb", "collectonly"))
    single = any("::" in argument for argument in config.args)
    worker = hasattr(config, "workerinput")  # its process is one of the two
    if config.pluginmanager.hasplugin("xdist") and not (asked or single or worker):
        config.option.numprocesses = min(PROCESSES, os.cpu_count() or 1)


def pytest_configure(config: pytest.Config) -> None:
    """Load the subject and call it once, so that a bad target is one line before any test runs."""
    options = {name: config.getoption(_destination(name)) for name in DETAILS}
    options = {name: value for name, value in options.items() if value is not None}
    target = config.getoption("subject")
    if target is None:
        if options:
            raise pytest.UsageError(f"{', '.join(options)} need --subject TARGET: they describe its inputs")
        # The models of this repository that are tested here are tiny: more threads would slow them down.
        torch.set_num_threads(1)
        os.environ["TRITON_INTERPRET"] = "1"  # read when triton is first imported; kernels then run on the CPU
        return
    chosen = Settings(**{name.removeprefix("--").replace("-", "_"): value for name, value in options.items()})
    try:
        config.stash[SUBJECT] = _checked(target, chosen)
    except SubjectError as problem:
        raise pytest.UsageError(str(problem)) from None
    config.stash[SETTINGS] = chosen


def _checked(target: str, chosen: Settings) -> Model:
    """The model, called once with these settings."""
    chosen.check()
    model = load_target(target)
    with prepare(model, chosen).preserve_state():
        return model


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Only the tests of the subject where one is named, else all others, those of the hub layer first."""
    wanted = config.getoption("subject") is not None
    kept = [item for item in items if (item.path.name == "test_subject.py") == wanted]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = sorted(kept, key=lambda item: item.path.name != FIRST)


def _destination(option: str) -> str:
    return "subject_" + option.removeprefix("--").replace("-", "_")
