"""From what a model returns to one float tensor [B, N, F]."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from audits.subject.settings import SubjectError

NAMES = ("logits", "last_hidden_state")  # of the tensor in an output object or dict


def as_sequence(output: Any, inputs: Tensor) -> Tensor:
    """The output's sequence tensor, float [B, N, F], for inputs [B, N, ...].

    Understands `.logits`, `.last_hidden_state`, dicts with these keys, and tuples whose first item is the tensor.

    Raises:
        SubjectError: there is none, it is empty, or its first two axes are not those of the inputs.
    """
    tensor = _tensor_of(output)
    _check_shape(tensor, inputs)
    numbers = tensor if tensor.is_floating_point() or tensor.is_complex() else tensor.double()
    numbers = torch.view_as_real(numbers) if numbers.is_complex() else numbers
    return numbers.flatten(2) if numbers.ndim > 2 else numbers[..., None]


def _tensor_of(output: Any) -> Tensor:
    for name in NAMES:
        found = output.get(name) if isinstance(output, dict) else getattr(output, name, None)
        if isinstance(found, Tensor):
            return _tensor_of(found)
    while isinstance(output, (tuple, list)) and output:
        output = output[0]
    if not isinstance(output, Tensor):
        keys = f" with {', '.join(map(str, output)) or 'no keys'}" if isinstance(output, dict) else ""
        raise SubjectError(
            f"the target returned a {type(output).__name__}{keys}, not a tensor [B, N, ...] or an object with .logits: "
            "wrap it in a function that returns the tensor"
        )
    return output if output.layout == torch.strided else output.to_dense()


def _check_shape(output: Tensor, inputs: Tensor) -> None:
    shape, wanted = list(output.shape), f"[{inputs.shape[0]}, {inputs.shape[1]}, ...]"
    if output.shape[:2] != inputs.shape[:2]:
        raise SubjectError(
            f"the target returned shape {shape} for {wanted}: it must keep batch and sequence axes first"
        )
    if not output.numel():
        raise SubjectError(f"the target returned an empty tensor of shape {shape}: nothing can be compared")
