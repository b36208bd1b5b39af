"""A planted leak under a contract, and its paired control."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from audits.discovery import modules_in
from audits.subject.contract import Contract


@dataclass(frozen=True)
class ContractLeak:
    """One mechanism by which an output depends on what its contract forbids, planted (`leaky`) and absent (`clean`).

    Both are zero-argument factories of equal small models, whose leaky one is a subclass that overrides what is wrong.
    Models of tokens have a `vocab_size`, others features `width` wide or whatever the roles of the contract say.

    Attributes:
        name: that of its file.
        mechanism: one sentence: what depends on what, and why.
        leaky: the model that breaks the contract.
        clean: the model that keeps it.
        contract: which output may depend on which input.
        line: a part of the line where what is forbidden enters.
        reads: whether (slot of the argument, slot of the output) is a dependence that only the leaky model has.
        argument: what the leak reads; empty, and without `reads`, where no argument shows it, as in decoding.
        seq_len: the length to audit at.
        vocab_size: of the argument that is tokens.
        width: of the argument that is features.
    """

    name: str
    mechanism: str
    leaky: Callable[[], nn.Module]
    clean: Callable[[], nn.Module]
    contract: Contract
    line: str
    reads: Callable[[int, int], bool] | None = None
    argument: str = ""
    seq_len: int = 24
    vocab_size: int | None = None
    width: int | None = None

    def options(self) -> dict[str, Any]:
        """What `audit` is told about the model."""
        features = {"input": "features", "width": self.width} if self.width else {"vocab_size": self.vocab_size}
        return {**features, "seq_len": self.seq_len, "contract": self.contract}


def all_contract_leaks() -> tuple[ContractLeak, ...]:
    """Every planted leak under a contract, in the order of their names."""
    import audits.leaks.contracts as package

    return tuple(module.LEAK for module in modules_in(package))
