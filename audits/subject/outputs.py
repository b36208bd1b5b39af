"""From what a model returns to one float tensor [B, N, F]."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from audits.subject.settings import SubjectError

NAMES = ("logits", "last_hidden_state")  # of the tensor in an output object or dict
MAIN = ""  # the name of that tensor here, or of the first of a tuple
# No outputs of a position: they know what comes later by their purpose, or are the keys of others.
NOT_JUDGED = ("loss", "losses", "labels", "targets", "past_key_values", "attentions", "cross_attentions")


def as_sequence(output: Any, inputs: Any, names: tuple[str, ...] = (MAIN,)) -> Tensor:
    """The output's sequence tensors of some names joined to one, float [B, N, F], for inputs [B, N, ...].

    Understands `.logits`, `.last_hidden_state`, dicts with these keys, and tuples whose first item is the main tensor;
    others are named by keys and indices joined by dots. Those that one call does not return are left out.

    Raises:
        SubjectError: there is none, it is empty, or its first two axes are not those of the inputs.
    """
    main = main_tensor(output)
    if names == (MAIN,) or isinstance(output, Tensor):
        shape, wanted = list(main.shape), f"[{inputs.shape[0]}, {inputs.shape[1]}, ...]"
        if main.shape[:2] != inputs.shape[:2]:
            raise SubjectError(
                f"the target returned shape {shape} for {wanted}: it must keep batch and sequence axes first"
            )
        if not main.numel():
            raise SubjectError(f"the target returned an empty tensor of shape {shape}: nothing can be compared")
        return numbers(main)
    found = {MAIN: main} | further_outputs(output, inputs)
    return torch.cat([numbers(found[name]) for name in names if name in found], dim=-1)


def further_outputs(
    output: Any, like: Tensor, placed: Callable[[Tensor], Tensor] = lambda tensor: tensor
) -> dict[str, Tensor]:
    """Floating tensors [B, N, ...], the first two axes as of `like`, that are returned besides the main one, by name.

    `placed` puts the sequence on the second axis of each.
    """
    found: dict[str, Tensor] = {}
    seen = [main_tensor(output)]
    for name, tensor in named_tensors(output):
        if tensor.layout != torch.strided or not tensor.numel() or any(tensor is other for other in seen):
            continue
        judged = not any(part in NOT_JUDGED or part.startswith("encoder_") for part in name.split("."))
        if judged and (sequence := placed(tensor)).shape[:2] == like.shape[:2]:
            found[name] = sequence
            seen.append(tensor)
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


def numbers(tensor: Tensor) -> Tensor:
    """As floats [B, N, F]."""
    found = tensor if tensor.is_floating_point() or tensor.is_complex() else tensor.double()
    found = torch.view_as_real(found) if found.is_complex() else found
    return found.flatten(2) if found.ndim > 2 else found[..., None]


def named(output: Any, name: str) -> Any:
    """What a returned mapping or object calls by a name; None where it has none."""
    return output.get(name) if isinstance(output, Mapping) else getattr(output, name, None)


def at_path(output: Any, path: str) -> Any:
    """What keys, attributes and indices joined by dots lead to.

    Raises:
        SubjectError: there is nothing.
    """
    found = output
    for part in [path] if isinstance(output, Mapping) and path in output else path.split("."):
        items = isinstance(found, (tuple, list)) and part.isdecimal() and int(part) < len(found)
        inner = found[int(part)] if items else named(found, part)
        if inner is None:
            names = found if isinstance(found, Mapping) else getattr(found, "__dict__", {})
            offered = f"; it has {', '.join(map(str, list(names)[:12]))}" if names else ""
            raise SubjectError(f"the output has no {path!r}: a {type(found).__name__} has no {part!r}{offered}")
        found = inner
    return found


def main_tensor(output: Any) -> Tensor:
    """The tensor that a model returns alone, by a well-known name, or first.

    Raises:
        SubjectError: there is none.
    """
    for name in NAMES:
        found = named(output, name)
        if isinstance(found, Tensor):
            return main_tensor(found)
    while isinstance(output, (tuple, list)) and output:
        output = output[0]
    if not isinstance(output, Tensor):
        keys = f" with {', '.join(map(str, output)) or 'no keys'}" if isinstance(output, dict) else ""
        raise SubjectError(
            f"the target returned a {type(output).__name__}{keys}, not a tensor [B, N, ...] or an object with .logits: "
            "wrap it in a function that returns the tensor"
        )
    return output if output.layout == torch.strided else output.to_dense()
