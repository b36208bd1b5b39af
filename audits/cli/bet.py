"""`hubrouter-audit bet TARGET`: the target and the settings of the test."""

from __future__ import annotations

import argparse

from audits.cli._options import add_subject_options

NAME, HELP = "bet", "prove a leak at level alpha by training a copy on random tokens; losing proves nothing"
ROWS = 16  # in a step; small batches mean more steps to learn from (our choice)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The target, as for `model`, then the settings of the test."""
    add_subject_options(parser, batch=ROWS, batch_help="rows in a step", dtype_help="float32 where absent")
    _add_config(parser)
    parser.add_argument("--json", metavar="FILE", help="write the result as JSON; - is standard output")
    parser.add_argument("--html", metavar="FILE", help="write a page with the wealth step by step")


def _add_config(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--alpha", type=float, help="the probability, at most, of a proof on a causal model")
    add("--steps", type=int, help="training steps at most")
    add("--seconds", type=float, help="time at most; none where absent")
    add("--alphabets", metavar="a,b,…", help="one predictor is trained for each size")
    add("--ahead", type=int, metavar="H", help="the output at t bets on the token at t + H")
    add("--lr", type=float, help="Adam's learning rate; chosen from the number of parameters where absent")
    add("--freeze", action="append", default=[], metavar="PATTERN", help="parameters not to train, such as '*router*'")
    add("--training-mode", action="store_true", help="run the model in training mode (dropout, batch statistics)")
    add("--to-the-end", action="store_true", help="continue after a proof, to measure how much can be extracted")
