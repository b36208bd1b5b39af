"""Every command and its options. Help and typos have to be quick: what is imported here imports no torch."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import audits.survey.libraries as libraries
from audits.auditor.presets import PRESETS
from audits.discovery import names_in
from audits.evidence.experiment import TIERS
from audits.subject.options import CONTRACT, INPUTS, TARGET
from audits.subject.settings import Settings
from audits.survey.fixups import LONGEST, SEQ_LEN

EXECUTORS = ("local", "slurm")  # as `claims.py` knows them
BET_ROWS = 16  # in a step of `bet`; small batches mean more steps to learn from (our choice)
LONGEST_BUDGET = 1e8  # seconds, three years: timers of the system take no more than some multiple of it
SURVEY_SECONDS = 300  # for one architecture; most take below ten on a machine that does nothing else
# What several commands take.
FRESH: dict[str, Any] = {"action": "store_true", "help": "repeat runs that are in the ledger already"}
REPORTS: dict[str, Any] = {"metavar": "DIR", "default": "reports", "help": "the folder of reports and evidence"}
# Beside the committed reports, which are read too; `--reports reports` writes these themselves.
BESIDE: dict[str, Any] = {**REPORTS, "default": "reports/local", "help": f"{REPORTS['help']} (reports/local)"}


@dataclass(frozen=True)
class Command:
    """What the help says of a command, and the options it takes; its action is the module `audits.cli.<name>`.

    `extras` of the package are what it needs beyond the base install.
    """

    help: str
    add_options: Callable[[argparse.ArgumentParser], None]
    extras: str = "claims"


def positive_seconds(text: str) -> float:
    """A number of seconds above zero."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= LONGEST_BUDGET:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0, and at most {LONGEST_BUDGET:g}")
    return seconds


def positive(text: str) -> int:
    """A whole number of at least 1."""
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return number


class Listed(argparse.Action):
    """A list whose items, of type `const`, are separated by spaces, commas or both.

    A word with a colon at its end is the TARGET where none stands before: no item has a colon.
    """

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        """Keep the items."""
        if len(values) > 1 and ":" in values[-1] and getattr(namespace, "target", "") is None:
            namespace.target = values.pop()
        words = ",".join(values).split(",")
        try:
            setattr(namespace, self.dest, [self.const(word.strip()) for word in words if word.strip()] or words)
        except ValueError:
            parser.error(f"argument {option}: {' '.join(values)!r} is no list of such items")


ISOLATE: dict[str, Any] = {
    "action": "store_true",
    "help": "run the target in a child process: nothing but a verdict that it hands over counts",
}
WORKERS: dict[str, Any] = {"type": positive, "metavar": "W", "help": "processes at a time; one a core where absent"}


def _add_list(to: argparse._ActionsContainer, name: str, item: str, text: str, kind: type = str) -> None:
    to.add_argument(name, nargs="+", action=Listed, const=kind, metavar=(item, item), help=text)


def _model(parser: argparse.ArgumentParser) -> None:
    _add_subject(parser)
    contract = parser.add_argument_group("contract", "which output may depend on which input, where not on its past")
    for name, details in CONTRACT.items():
        contract.add_argument(f"--{name}", **details)
    add = parser.add_argument
    which = parser.add_mutually_exclusive_group()
    _add_list(which, "--probes", "PROBE", "only these probes")
    which.add_argument("--preset", choices=tuple(PRESETS), help="all probes, or the fewest that see all planted leaks")
    add("--budget", type=positive_seconds, metavar="SECONDS", help="start nothing more after so many seconds")
    add("--isolate", **ISOLATE)
    add("--json", metavar="FILE", help="write the result as JSON; - is standard output")
    add("--sarif", metavar="FILE", help="write the findings as SARIF 2.1.0")
    add("--html", metavar="FILE", help="write a page with the influence map")
    add("--junit", metavar="FILE", help="write JUnit XML, one test case a probe")
    add("--badge", metavar="FILE", help="write a badge as JSON, for shields.io's endpoint")


def _bet(parser: argparse.ArgumentParser) -> None:
    rows = {"default": BET_ROWS, "help": f"rows in a step ({BET_ROWS})"}
    _add_subject(parser, batch=rows, dtype={"help": "float32 where absent"}, documents=None)
    add = parser.add_argument
    add("--alpha", type=float, help="the probability, at most, of a proof on a causal model")
    add("--steps", type=int, help="training steps at most")
    add("--seconds", type=float, help="time at most; none where absent")
    _add_list(parser, "--alphabets", "SIZE", "one predictor is trained for each size", int)
    add("--ahead", type=int, metavar="H", help="the output at t bets on the token at t + H")
    add("--lr", type=float, help="Adam's learning rate; chosen from the number of parameters where absent")
    add("--freeze", action="append", default=[], metavar="PATTERN", help="parameters not to train, such as '*router*'")
    add("--training-mode", action="store_true", help="run the model in training mode (dropout, batch statistics)")
    add("--to-the-end", action="store_true", help="continue after a proof, to measure how much can be extracted")
    add("--isolate", **ISOLATE)
    add("--json", metavar="FILE", help="write the result as JSON; - is standard output")
    add("--html", metavar="FILE", help="write a page with the wealth step by step")


def _claims(parser: argparse.ArgumentParser) -> None:
    corpus = "a text file, or hf:NAME[:CONFIG] for a dataset or a folder; the Python library's source where absent"
    slurm = "options of sbatch, such as partition=gpu time=120"
    where = "where runs keep their state, to go on from; the user's cache where absent"
    add = parser.add_argument
    add("--tier", choices=TIERS, default="quick", help="how much evidence: minutes, hours, or a GPU")
    _add_list(parser, "--only", "ID", "gather for these claims only (patterns as 'routing-*' too), and exit by them")
    add("--device", default="cpu")
    add("--corpus", metavar="TEXT", help=corpus)
    add("--hotpot", metavar="FILE", help="HotpotQA's JSON, for the claim routing-bm25")
    add("--fresh", **FRESH)
    add("--executor", choices=EXECUTORS, default="local", help="processes on this machine, or jobs of Slurm")
    add("--workers", **WORKERS | {"help": "runs at a time; one a core where absent, what Slurm gives there"})
    add("--slurm", nargs="+", default=[], metavar="KEY=VALUE", help=slurm)
    add("--checkpoints", metavar="DIR", help=where)
    _report(parser, BESIDE)


def _report(parser: argparse.ArgumentParser, reports: dict[str, Any] = REPORTS) -> None:
    parser.add_argument("--reports", **reports)
    parser.add_argument("--page", metavar="FILE", help="also write what each probe can and cannot see, as Markdown")


def _leaks(parser: argparse.ArgumentParser) -> None:
    _add_list(parser, "--only", "NAME", "only these planted leaks")
    parser.add_argument("--workers", **WORKERS)
    parser.add_argument("--json", metavar="FILE", help="write the matrix as JSON; - is standard output")


def _init(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", metavar="TARGET", help="package.module:attribute, a model or a factory of one")
    parser.add_argument("--folder", metavar="DIR", default=".", help="the root of the repository (.)")


def _peers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--fresh", **FRESH)
    parser.add_argument("--reports", **BESIDE)


def _recheck(parser: argparse.ArgumentParser) -> None:
    named = "named as in the ledger; all where absent"
    parser.add_argument("experiments", nargs="*", metavar="EXPERIMENT", help=named)
    outside = "a folder of records from outside that name today's code: repeat a random sample, record nothing"
    parser.add_argument("--outside", metavar="FOLDER", help=outside)
    parser.add_argument("--reports", **REPORTS)
    parser.add_argument("--workers", **WORKERS)
    parser.add_argument("--device", default="cpu")


def _bench(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--tier", choices=TIERS, default="quick", help="a minute; the CPU's targets; a GPU's")
    add("--device", default="cpu")
    _add_list(parser, "--only", "LAYER", "these layers, and attention to compare with")
    add("--fresh", **FRESH)
    add("--reports", **BESIDE)
    profile, roofline = "only show where a CPU's time goes, 8192 tokens", "only estimate tier paper's least times"
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--profile", nargs="?", type=positive, const=8192, metavar="N", help=profile)
    instead.add_argument("--roofline", nargs="?", const="h200", metavar="MACHINE", help=f"{roofline} on a machine")
    add("--matmul-rate", type=positive, metavar="GFLOP/s", help="of the roofline, not the machine's")
    add("--copy-rate", type=positive, metavar="GB/s", help="of the roofline, not the machine's")


def _survey(parser: argparse.ArgumentParser) -> None:
    add, known, seconds = parser.add_argument, names_in(libraries), SURVEY_SECONDS
    add("library", metavar="LIBRARY", choices=known, help=f"one of {', '.join(known)}")
    _add_list(parser, "--only", "NAME", "only these, by registered name or by class; exit by them")
    add("--seq-len", type=int, metavar="N", default=SEQ_LEN, help=f"tokens a sequence ({SEQ_LEN}; at most {LONGEST})")
    add("--batch", type=int, metavar="B", default=Settings.batch, help="most rows in one forward pass")
    add("--seed", type=int, metavar="S", default=0, help="of weights and inputs")
    add("--workers", **WORKERS)
    add("--time-limit", type=positive, metavar="SECONDS", default=seconds, help=f"for one architecture ({seconds})")
    add("--memory-limit", type=positive, metavar="GIB", default=6, help="for one architecture (6)")
    add("--fresh", **FRESH)
    add("--out", metavar="DIR", default="reports/survey", help="the folder of the tables and their evidence")


def _add_subject(parser: argparse.ArgumentParser, **otherwise: dict[str, Any] | None) -> None:
    """TARGET and what it is fed; some of that is described otherwise, None is left out."""
    also = "hf:NAME, a folder with a config.json, a cached repository or a model type of transformers"
    small = "of hf:NAME: tiny, with one layer of each kind"
    parser.add_argument(
        "target", metavar="TARGET", help=f"{TARGET}, or {also}"
    ).required = False  # `Listed` may find it
    parser.add_argument("--shrink", action="store_true", help=small)
    for name, details in INPUTS.items():
        if (changed := otherwise.get(name, {})) is not None:
            parser.add_argument(f"--{name}", **details | changed)


COMMANDS: Mapping[str, Command] = {
    "bench": Command(
        "times of HubRouter, attention, windows and Mamba on this machine, against their lower bounds", _bench
    ),
    "bet": Command("prove a leak at level alpha by training a copy on random tokens; losing proves nothing", _bet, ""),
    "claims": Command("gather missing evidence, judge every claim, and write the reports", _claims),
    "init": Command("write a test and a workflow for a model of your repository; nothing is overwritten", _init, ""),
    "leaks": Command("the kill matrix: every planted leak against every probe, clean controls included", _leaks),
    "model": Command("audit any PyTorch sequence model for causality leaks", _model, ""),
    "peers": Command(
        "the same models by this auditor and by causal-certificate: what each finds, what each takes",
        _peers,
        "claims,peers",
    ),
    "recheck": Command("repeat a sample of the runs whose code has changed since, and compare every number", _recheck),
    "report": Command("rebuild the reports from the evidence on disk; runs no experiment", _report),
    "survey": Command(
        "build every causal language model of a library, tiny and without a download, and audit each", _survey, "survey"
    ),
}
