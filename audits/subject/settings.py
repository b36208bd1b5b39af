"""What the subject is fed and how, and the error for a model that cannot be audited so."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from audits.formatting import first_line

if TYPE_CHECKING:
    from audits.subject.contract import Contract

DTYPES = ("float64", "float32", "bfloat16")


class SubjectError(Exception):
    """The model cannot be audited as asked; the message says why and how to fix it, in one line."""


@dataclass(frozen=True)
class Settings:
    """What is fed to the subject, and how.

    Attributes:
        input: "tokens" (int64 [B, N] in [0, vocab_size)) or "features" (float [B, N, width]).
        vocab_size: number of token ids; read from the model when None.
        width: features a position, for feature models.
        seq_len: N.
        batch: most rows in one forward pass; 1 switches batching off.
        seed: of everything drawn.
        dtype: one of DTYPES; None means float64 where the model can be cast, else its own.
        device: a torch device name.
        documents: names of arguments, comma-separated, that must isolate packed documents; None: those made for that.
        contract: which output may depend on which input; None: the default, or that which the model is recognised by.
    """

    input: str = "tokens"
    vocab_size: int | None = None
    width: int | None = None
    seq_len: int = 96
    batch: int = 32
    seed: int = 0
    dtype: str | None = None
    device: str = "cpu"
    documents: str | None = None
    contract: Contract | None = None

    def as_dict(self) -> dict[str, Any]:
        """The settings by name, as words and numbers."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return values | {"contract": self.contract and self.contract.described()}

    @property
    def required_isolation(self) -> tuple[str, ...]:
        """The arguments that must isolate packed documents, as named by the user."""
        return tuple(word.strip() for word in self.documents.split(",")) if self.documents is not None else ()

    def check(self) -> None:
        """Raise SubjectError where the settings alone cannot work."""
        numbers = (self.seq_len, self.batch, self.seed, self.vocab_size or 0, self.width or 0)
        if not all(isinstance(number, int) for number in numbers):
            raise SubjectError("seq_len, batch, seed, vocab_size and width must be whole numbers")
        rules = (
            (self.input in ("tokens", "features"), f"input must be 'tokens' or 'features', not {self.input!r}"),
            (self.seq_len >= 2, f"seq_len={self.seq_len} leaves no earlier position to leak into: use at least 2"),
            (0 <= self.seed < 2**63, f"seed must be from 0 to 2^63 - 1, not {self.seed}"),
            (self.batch >= 1, f"batch must be at least 1, not {self.batch}"),
            (self.dtype in (None, *DTYPES), f"dtype must be one of {', '.join(DTYPES)}, not {self.dtype!r}"),
            (
                self.vocab_size is None or self.vocab_size >= 2,
                f"vocab_size={self.vocab_size}: with fewer than 2 tokens nothing can be changed",
            ),
            (self.input == "tokens" or (self.width or 0) >= 1, "feature models need --width D (width=D), at least 1"),
            (
                self.input == "features" or self.width is None,
                f"width={self.width} is for feature models: add --input features (input='features')",
            ),
        )
        if wrong := [message for holds, message in rules if not holds]:
            raise SubjectError(wrong[0])
        import torch  # takes seconds; reading options needs none of it

        try:
            torch.empty(0, device=self.device)
        except (RuntimeError, AssertionError) as problem:
            raise SubjectError(f"device {self.device!r} cannot be used here: {first_line(problem)}") from problem
