"""What is tried out in a calibration: a procedure in a setting, with and without an effect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from audits.experiments.calibration._noise import Flags

Trial = Callable[[np.random.Generator, int], Flags]  # (generator, draws) -> whether the test rejected, [draws]


@dataclass(frozen=True)
class Case:
    """One row of the calibration.

    Attributes:
        procedure: the name of the test.
        n: runs an arm, pairs, or runs a cell.
        setting: the noise or the true rates.
        null: the test where it should not reject.
        effect: what there is to find in `found`, in words.
        found: the test where it should reject; None where there is nothing to find.
        trap: why no verdict rests on the procedure in this setting; empty where verdicts do.
    """

    procedure: str
    n: int
    setting: str
    null: Trial
    effect: str = ""
    found: Trial | None = None
    trap: str = ""
