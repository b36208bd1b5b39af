"""For Lightning: `Trainer(callbacks=[CausalityCallback(every=500, model=lambda module: module.net)])`."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from audits.callbacks._audits import PeriodicAudit

# Lightning is published under two names, whose classes have nothing in common: that which the user has imported counts.
NAMES = ("lightning.pytorch", "pytorch_lightning")


def _callback_class() -> Any:
    for name in sorted(NAMES, key=lambda name: name not in sys.modules):
        try:
            return importlib.import_module(name).Callback
        except ModuleNotFoundError as problem:
            if problem.name not in (name, name.partition(".")[0]):
                raise
    raise ModuleNotFoundError("audits.callbacks.lightning needs lightning or pytorch-lightning", name="lightning")


class CausalityCallback(PeriodicAudit, _callback_class()):  # type: ignore[misc] # of whichever is installed
    """Audits the model before training and every so many steps; see `PeriodicAudit`, whose arguments it takes."""

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Audit before the first step."""
        self.audit_at(trainer.global_step, pl_module)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        """Audit after a step of the optimizer, where it is due."""
        self.audit_if_due(trainer.global_step, pl_module)
