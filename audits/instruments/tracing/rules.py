"""Which rule an operation follows: its own, that of element-wise or layout operations, or none."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch

from audits.instruments.tracing import (
    rules_contract,
    rules_group,
    rules_index,
    rules_layout,
    rules_pointwise,
    rules_reduce,
)
from audits.instruments.tracing.call import KEEPS_MASKED, RULES, Call, Result, Rule

# Imported to register themselves.
FAMILIES = (rules_contract, rules_group, rules_index, rules_layout, rules_pointwise, rules_reduce)

# Operations that return a view although their schema does not say so.
# The in-place ones change a tensor's shape and strides, not what is stored; renormalising the rows of a table in place
# gives every row the same values, whichever tokens it was looked up for.
IN_PLACE = {"transpose", "t", "squeeze", "unsqueeze", "swapaxes", "swapdims", "as_strided", "embedding_renorm"}
UNSAFE = {"_unsafe_view", "_reshape_alias", "unsafe_split", "unsafe_split_with_sizes", "unsafe_chunk", "lift_fresh"}
VIEWS = IN_PLACE | UNSAFE
READS = {"_local_scalar_dense", "is_nonzero", "equal", "allclose"}  # a value leaves for Python
SILENT = {
    *("_assert_async", "_assert_tensor_metadata", "_functional_assert_async", "record_stream", "_linalg_check_errors")
}
ALIASES = {"__and__": "bitwise_and", "__or__": "bitwise_or", "__iand__": "bitwise_and", "__ior__": "bitwise_or"}
MASKING = {"add", "sub", "rsub", "exp", "_softmax", "_safe_softmax", "softmax"}
OLD_VALUE_UNUSED = {"copy", "fill", "zero"}


@dataclass(frozen=True)
class Plan:
    """Everything about an operation that does not depend on its arguments.

    Attributes:
        name: see `Call.name`.
        view: its result is in the same storage, so nothing is to be done.
        reads: Python reads a value.
        names: of all arguments, in the schema's order.
        written: of the arguments written to.
        outputs: of the arguments only written to (`out=`).
        rule: its rule; None where it is decomposed, or treated as unknown.
        layout: it only moves elements.
        masked: its rule understands the MASKED flag.
        masks: its rule may set the flag.
        reads_old_value: an in-place operation whose rule needs the values before it.
    """

    name: str
    view: bool
    reads: bool
    names: tuple[str, ...]
    written: frozenset[str]
    outputs: frozenset[str]
    rule: Rule | None
    layout: bool
    masked: bool
    masks: bool
    reads_old_value: bool


@cache
def plan(func: Any) -> Plan:
    """The plan of an operator overload."""
    schema = func._schema
    name = plain_name(func)
    written = {a.name for a in schema.arguments if a.alias_info is not None and a.alias_info.is_write}
    outputs = {a.name for a in schema.arguments if a.name in written and a.kwarg_only}
    known = func.namespace in ("aten", "prims", "prim")
    return Plan(
        name=name,
        view=known and (func.is_view or name in VIEWS),
        reads=known and name in READS | SILENT,
        names=tuple(a.name for a in schema.arguments),
        written=frozenset(written),
        outputs=frozenset(outputs),
        rule=_rule(func, name) if known else None,
        layout=name in rules_layout.MOVERS or name in OLD_VALUE_UNUSED,
        masked=name in KEEPS_MASKED or name in rules_layout.MOVERS or name == "copy",
        masks=name in MASKING,
        reads_old_value=bool(written - outputs) and name not in OLD_VALUE_UNUSED,
    )


def plain_name(func: Any) -> str:
    """Without namespace, overload and the underscore of in-place versions."""
    name = str(func._schema.name).split("::")[1]
    return ALIASES.get(name) or (name if name.startswith("__") else name.rstrip("_"))


def _rule(func: Any, name: str) -> Rule | None:
    if name in rules_layout.MOVERS:
        function = func if not func._schema.is_mutable else getattr(torch.ops.aten, name).default
        return partial(rules_layout.move, function)
    return RULES.get(name) or (rules_pointwise.pointwise if torch.Tag.pointwise in func.tags else None)


def mix_all(call: Call) -> Result:
    """The rule of an unknown operation: all that it returns depends on the latest of all its inputs."""
    maxima = [labels.max() for labels in call.all_labels() if labels.numel()]
    return torch.stack(maxima).max() if maxima else None
