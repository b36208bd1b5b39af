"""The pytest plugin in somebody's own suite: fixture, one test for each model and probe, a target without test code."""

from __future__ import annotations

import subprocess
import sys
from xml.etree import ElementTree

import pytest

import audits.auditor.audit  # noqa: F401 - pytester forgets what the inner run imports, and torch bears that only once
from audits.auditor.presets import QUICK
from audits.probes import all_probes
from audits.testing import parametrize_with_probes

pytest_plugins = ["pytester"]

PLUGIN = "audits.testing.plugin"
MODELS = """
import torch
from torch import nn

class Causal(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(7, 4), nn.Linear(4, 7)

    def forward(self, tokens):
        return self.head(self.embedding(tokens).cumsum(1))

class Leaky(Causal):
    def forward(self, tokens):
        hidden = self.embedding(tokens)
        return self.head(hidden.cumsum(1) + hidden.mean(1, keepdim=True))

def broken():
    raise OSError("no checkpoint")
"""
FIXTURE = """
from models import Causal, Leaky

def test_causal(causality):
    causality(Causal(), seq_len=6, probes=["perturbation", "provenance"])

def test_leaky(causality):
    causality(Leaky(), seq_len=6, probes=["perturbation", "provenance"])
"""
EACH = """
from audits.testing import parametrize_with_probes
from models import Causal, Leaky

@parametrize_with_probes(
    {"causal": Causal, "leaky": Leaky},
    seq_len=6,
    probes=["gradient", "perturbation", "padding"],
    expected_failures={"leaky": {"gradient": "issue 12"}},
)
def test_every_probe(check):
    check()
"""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    """Somebody's folder with two models, one of which leaks."""
    pytester.makepyfile(models=MODELS)
    pytester.syspathinsert()
    return pytester


def run(suite: pytest.Pytester, *options: str) -> pytest.RunResult:
    return suite.runpytest_inprocess("-p", PLUGIN, "-p", "no:jaxtyping", "--strict-markers", *options)


def test_the_fixture_fails_a_leaky_model_with_positions_class_and_line(suite: pytest.Pytester) -> None:
    suite.makepyfile(FIXTURE)
    done = run(suite, "--junitxml=junit.xml")
    done.assert_outcomes(passed=1, failed=1)
    done.stdout.fnmatch_lines(
        [
            "*CausalityError: Leaky: LEAK",
            "*dense leak at models.py:15, *",
            "*The output at position *, row 0 depends on position *",
            "*> 15 | *return self.head(hidden.cumsum(1) + hidden.mean(1, keepdim=True))",
            "*reproduce: *",
        ]
    )
    done.stdout.no_fnmatch_line("*audits/testing/*")
    properties = ElementTree.parse(suite.path / "junit.xml").iter("property")
    named = {node.get("name"): node.get("value") for node in properties}
    assert named["causality.verdict"] == "LEAK"
    assert named["causality.leak_class"] == "dense"
    assert (named["causality.file"], named["causality.line"]) == ("models.py", "15")


def test_every_model_and_probe_is_a_test_of_its_own(suite: pytest.Pytester) -> None:
    suite.makepyfile(EACH)
    done = run(suite, "-v", "-rx")
    done.assert_outcomes(passed=2, skipped=2, xfailed=1, failed=1)
    lines = ["*?causal-gradient? PASSED*", "*?leaky-perturbation? FAILED*", "XFAIL *?leaky-gradient? - issue 12"]
    done.stdout.fnmatch_lines(lines)


def test_an_expected_failure_that_does_not_fail_fails(suite: pytest.Pytester) -> None:
    suite.makepyfile(EACH.replace('{"leaky": {"gradient"', '{"causal": {"gradient"'))
    done = run(suite, "-k", "causal-gradient")
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["*XPASS(strict)* issue 12*"])


def test_an_expected_failure_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="expected_failures names block: deocde"):
        parametrize_with_probes({"block": object}, expected_failures={"block": {"deocde": "a typo"}})


def test_a_preset_chooses_the_probes() -> None:
    names = [case.id for case in parametrize_with_probes({"block": object}, preset="quick").args[1]]
    assert set(names) == {f"block-{probe}" for probe in QUICK}


def test_a_subject_is_probed_in_place_of_the_tests_in_the_folder(suite: pytest.Pytester) -> None:
    suite.makepyfile(test_mine="raise RuntimeError('collected')")
    options = ("--causality-subject", "models:Leaky", "--causality-seq-len", "6")
    done = run(suite, *options, "-v", "-k", "perturbation or padding", "--junitxml=junit.xml")
    done.assert_outcomes(failed=1, skipped=1, deselected=len(all_probes()) - 2)
    done.stdout.fnmatch_lines(["models:Leaky::perturbation FAILED*"])
    done.stdout.fnmatch_lines(["models:Leaky: LEAK", "*dense leak at models.py:15*"])
    cases = ElementTree.parse(suite.path / "junit.xml").iter("testcase")
    (failed,) = [case for case in cases if case.find("failure") is not None]
    assert failed.get("name") == "perturbation"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--causality-subject", "models:broken"), "*calling the factory raised OSError: no checkpoint*"),
        (("--causality-seq-len", "6"), "*seq-len: of what? Name a target with --causality-subject too*"),
    ],
)
def test_what_cannot_run_is_one_line(suite: pytest.Pytester, options: tuple[str, ...], message: str) -> None:
    done = run(suite, *options)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines([message])
    assert len([line for line in done.stderr.lines if line.strip()]) == 1


def test_tests_may_be_spread_over_processes(suite: pytest.Pytester) -> None:
    suite.makepyfile(EACH)
    done = suite.runpytest_subprocess("-p", PLUGIN, "-n", "2", "--dist", "loadfile", timeout=300)
    done.assert_outcomes(passed=2, skipped=2, xfailed=1, failed=1)


def test_loading_the_plugin_loads_nothing_heavy() -> None:
    code = f"import sys, {PLUGIN}; print([n for n in ('torch', 'numpy', 'rich', 'scipy') if n in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
