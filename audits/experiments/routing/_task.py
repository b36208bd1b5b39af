"""The routing tasks by name, at each tier's size.

The paper says neither what its distractors carry, nor how many there are, nor whether the router is trained to find the
key of the answer or its value: each is a reading of it.
"""

from __future__ import annotations

from hubrouter.diagnostic.tasks.distant_evidence import DistantEvidence
from hubrouter.diagnostic.tasks.mqar import Mqar

FAR, FEW, MANY, PLAIN = "far", "far, 4 distractors", "far, 32 distractors", "far, other keys"
VALUE, WIDE = "far, value sought", "far, 512 tokens"
SMALL = "far, 32 token values"  # for a head that learns which value follows the key within a CPU's patience
MQAR, MQAR_VALUE = "mqar", "mqar, value sought"
Questions = DistantEvidence | Mqar

# Small: a quarter of the paper's length, its ratio of distance to length kept, except where 32 distractors need room.
_SMALL: dict[str, Questions] = {
    FAR: DistantEvidence(128, 50, 256, 8),
    FEW: DistantEvidence(128, 50, 256, 4),
    MANY: DistantEvidence(128, 70, 256, 32),
    PLAIN: DistantEvidence(128, 50, 256, 8, same_key=False),
    VALUE: DistantEvidence(128, 50, 256, 8, value=True),
    WIDE: DistantEvidence(512, 200, 256, 8),
    SMALL: DistantEvidence(128, 50, 32, 8),
    MQAR: Mqar(128, 16, 256),
    MQAR_VALUE: Mqar(128, 16, 256, value=True),
}
_PAPER: dict[str, Questions] = {
    FAR: DistantEvidence(512, 200, 256, 8),
    FEW: DistantEvidence(512, 200, 256, 4),
    MANY: DistantEvidence(512, 200, 256, 32),
    PLAIN: DistantEvidence(512, 200, 256, 8, same_key=False),
    VALUE: DistantEvidence(512, 200, 256, 8, value=True),
    SMALL: DistantEvidence(512, 200, 32, 8),
    MQAR: Mqar(256, 16, 8192),
    MQAR_VALUE: Mqar(256, 16, 8192, value=True),
}
TASKS = {"quick": _SMALL, "full": _SMALL, "paper": _PAPER}


def content_ceiling(task: Questions) -> float | None:
    """The precision by tokens alone, without positions or neighbours; None where they identify the answer.

    A value says nothing of its key: tokens alone leave its finding to chance.
    """
    if task.value or isinstance(task, Mqar) or not task.same_key:
        return None
    return min(1.0, task.picks / (task.distractors + 1))
