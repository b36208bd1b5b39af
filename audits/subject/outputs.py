"""From what a model returns to one float tensor [B, N, F]."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from audits.subject.settings import SubjectError

NAMES = ("logits", "last_hidden_state")  # of the tensor in an output object or dict
MAIN = ""  # the name of that tensor here, or of the first of a tuple
# No outputs of a position: they know what comes later by their purpose, or are the keys of others.
NOT_JUDGED = ("loss", "losses", "labels", "targets", "past_key_values", "attentions", "cross_attentions")


def as_sequence(output: Any, inputs: Tensor, names: tuple[str, ...] = (MAIN,)) -> Tensor:
    """The output's sequence tensors of some names joined to one, float [B, N, F], for inputs [B, N, ...].

    Understands `.logits`, `.last_hidden_state`, dicts with these keys, and tuples whose first item is the main tensor;
    others are named by keys and indices joined by dots. Those that one call does not return are left out.

    Raises:
        SubjectError: there is none, it is empty, or its first two axes are not those of the inputs.
    """
    if names == (MAIN,) or isinstance(output, Tensor):
        tensor = _tensor_of(output)
        _check_shape(tensor, inputs)
        return _numbers(tensor)
    found = {MAIN: _tensor_of(output)} | further_outputs(output, inputs)
    return torch.cat([_numbers(found[name]) for name in names if name in found], dim=-1)


def further_outputs(output: Any, inputs: Tensor) -> dict[str, Tensor]:
    """Floating tensors [B, N, ...] that are returned besides the main one, by name."""
    found: dict[str, Tensor] = {}
    for name, tensor in named_tensors(output):
        fits = tensor.layout == torch.strided and tensor.shape[:2] == inputs.shape[:2] and tensor.numel()
        judged = fits and not any(part in NOT_JUDGED or part.startswith("encoder_") for part in name.split("."))
        if judged and not any(tensor is other for other in (_tensor_of(output), *found.values())):
            found[name] = tensor
    return found


def named_tensors(output: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """All floating tensors in nested tuples, lists, dicts and an output object, by keys and indices joined by dots."""
    if isinstance(output, Tensor):
        if output.is_floating_point() or output.is_complex():
            yield name, output
        return
    if hasattr(output, "_asdict"):  # a named tuple
        output = output._asdict()
    elif isinstance(output, (tuple, list)):
        output = dict(enumerate(output))
    elif not isinstance(output, dict) and not name:
        output = getattr(output, "__dict__", {})
    for key, value in output.items() if isinstance(output, dict) else ():
        yield from named_tensors(value, f"{name}.{key}".removeprefix("."))


def _numbers(tensor: Tensor) -> Tensor:
    """As floats [B, N, F]."""
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
