"""For the Trainer of transformers: `Trainer(..., callbacks=[CausalityCallback(every=500)])`."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback

from audits.callbacks._audits import PeriodicAudit


class CausalityCallback(PeriodicAudit, TrainerCallback):
    """Audits the model before training and every so many steps; see `PeriodicAudit`, whose arguments it takes."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:  # noqa: ARG002
        """Audit before the first step."""
        self.audit_at(state.global_step, given["model"])

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:  # noqa: ARG002
        """Audit after a step of the optimizer, where it is due."""
        self.audit_if_due(state.global_step, given["model"])
