"""Where runs are carried out: one module for each way, all behind `Executor`; `make_executor` finds them by name."""

from audits.evidence.executors.executor import (
    Began,
    Died,
    Event,
    Executor,
    ExecutorError,
    Failed,
    Finished,
    Job,
    Order,
    Placed,
    Requeued,
    Told,
)
from audits.evidence.executors.registry import EXECUTORS, Wish, make_executor

__all__ = [
    "EXECUTORS",
    "Began",
    "Died",
    "Event",
    "Executor",
    "ExecutorError",
    "Failed",
    "Finished",
    "Job",
    "Order",
    "Placed",
    "Requeued",
    "Told",
    "Wish",
    "make_executor",
]
