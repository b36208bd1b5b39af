"""When a model in training is audited, and what follows from the verdict; no trainer is known here."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from torch import nn

from audits.auditor.audit import explain
from audits.auditor.guarded import audit
from audits.results import AuditResult, CausalityError, Verdict
from audits.subject.copying import deep_copy

LOGGER = logging.getLogger("audits.callbacks")
LEVELS = {Verdict.PASS: logging.INFO, Verdict.LEAK: logging.WARNING, Verdict.UNDETERMINED: logging.WARNING}


class PeriodicAudit:
    """Audits a model before training and every so many steps; a leak ends training with CausalityError.

    An audit leaves the model, its gradients and all random generators as they are: training goes on as without it.
    Every process audits the same weights with the same seed, so all of them stop together. Weights that are divided
    among processes (FSDP, DeepSpeed's stage 3) cannot be audited.

    Attributes:
        results: what the audits gave, by the number of steps done before.
    """

    def __init__(
        self,
        *,
        every: int | None = None,
        warn_only: bool = False,
        model: Callable[[Any], nn.Module] | None = None,
        **options: Any,
    ) -> None:
        """What is audited when.

        Args:
            every: steps of the optimizer from one audit to the next; None means one audit, before training.
            warn_only: log a leak as a warning, and go on.
            model: which part of what is trained is audited; None means all of it.
            options: the arguments of `audits.audit`; the preset is "quick" unless given, the device the model's own.

        Raises:
            ValueError: `every` is no positive number.
        """
        if every is not None and every < 1:
            raise ValueError(f"every={every} must be at least 1 step, or None for one audit before training")
        self._every, self._warn_only, self._model = every, warn_only, model
        self._options = options if "probes" in options else {"preset": "quick"} | options
        self.results: dict[int, AuditResult] = {}

    def audit_at(self, step: int, trained: Any) -> None:
        """Audit a copy of the model, which has nothing of what trainers hang on a module.

        Raises:
            CausalityError: the model leaks, and more than a warning is wanted.
        """
        model = trained if self._model is None else self._model(trained)
        device = next((str(tensor.device) for tensor in model.parameters()), "cpu")
        copied = deep_copy(model)
        result = audit(model if copied is None else copied, **{"device": device} | self._options)
        self.results[step] = result
        LOGGER.log(LEVELS[result.verdict], "step %d: %s", step, explain(result))
        if result.verdict is Verdict.LEAK and not self._warn_only:
            raise CausalityError(f"step {step}: {explain(result)}", result)

    def audit_if_due(self, step: int, trained: Any) -> None:
        """Audit where this is such a step, once: with accumulated gradients, several batches make a step."""
        if self._every is not None and step % self._every == 0 and step not in self.results:
            self.audit_at(step, trained)
