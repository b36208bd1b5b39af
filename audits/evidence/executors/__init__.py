"""Where runs are executed: one module for each way, all behind `Executor`; `make_executor` finds them by name."""

from audits.evidence.executors.executor import (
    Began,
    Died,
    Event,
    Executor,
    ExecutorError,
    Failed,
    Finished,
    ProgressReported,
    Requeued,
    Submission,
)
from audits.evidence.executors.registry import EXECUTORS, ExecutorConfig, make_executor

__all__ = [
    "EXECUTORS",
    "Began",
    "Died",
    "Event",
    "Executor",
    "ExecutorConfig",
    "ExecutorError",
    "Failed",
    "Finished",
    "ProgressReported",
    "Requeued",
    "Submission",
    "make_executor",
]
