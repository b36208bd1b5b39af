"""How a model continues a sequence from its state: its own protocol, or the caches of Hugging Face and fla."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from audits.subject.outputs import as_sequence, at_path, main_tensor, named
from audits.subject.settings import SubjectError
from audits.subject.subject import Subject

Step = Callable[[Any, Any, Any, int], tuple[Any, Any]]  # (model, piece, state, positions before) -> (output, state)
CACHES = ("past_key_values", "cache_params", "state")  # of Hugging Face: attention; Mamba and xLSTM; RWKV
OTHERS = ("cache", "kv_cache", "past_kv", "prev_hiddens")  # of other libraries: what they hold and return is a guess
SWITCHES = ("use_cache", "return_cache", "return_intermediates")  # arguments that make a model return its cache
METHODS = ("update", "get_seq_length")  # by which a cache is recognised among the items of a tuple


@dataclass(frozen=True)
class Piece:
    """The positions from `start` to before `stop` of an input [B, L, ...], to be fed under a contract.

    It has the whole, because what some arguments hold depends on what was before (times, positions).
    """

    whole: Tensor
    start: int
    stop: int

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the part."""
        return tuple(self.whole[:, self.start : self.stop].shape)

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.whole.device


def pieces(subject: Subject, inputs: Tensor, sizes: list[int]) -> Iterator[Tensor | Piece]:
    """Inputs [B, L, ...] in pieces of so many positions."""
    if subject.plan is None:
        yield from inputs.split(sizes, dim=1)
    else:
        yield from (Piece(inputs, stop - size, stop) for size, stop in zip(sizes, accumulate(sizes), strict=True))


def outputs_of_piece(subject: Subject, output: Any, piece: Tensor | Piece) -> Tensor:
    """The outputs [B, S, F] that a piece returned: one a position, or under clocks of its own as many as are ready."""
    any_number = subject.plan is not None and not subject.plan.is_plain
    # Copies: a model may return, or keep, a buffer that its next call overwrites.
    return (main_tensor(output) if any_number else as_sequence(output, piece)).clone()


def streaming(subject: Subject) -> Step | None:
    """How this subject streams; None where it does not.

    A method `stream(piece, state=None) -> (outputs, state)` takes precedence. A model that takes `past_key_values` (or
    another of CACHES) and `use_cache` returns its cache, as an attribute or in a tuple; or it writes into the one it
    was given, as layers do that are part of a larger model.
    """
    if own_stream(subject):
        return lambda model, piece, state, past: model.stream(piece, state)  # noqa: ARG005 - the position is part of the state
    keywords, contract = subject.convention.keywords, subject.settings.contract
    argument, returned = contract.cache_names if contract is not None else ("", "")
    if argument:  # the contract's
        switches = [switch for switch in (*SWITCHES, f"return_{argument}") if switch in keywords]
    else:
        found = ((c, s) for c in (*CACHES, *OTHERS) for s in (*SWITCHES, f"return_{c}") if {c, s} <= keywords)
        argument, *switches = next(found, ("",))
        if not argument:
            return None
    # x-transformers asks whether the piece comes alone or after all that is in the cache.
    further = dict.fromkeys((*switches, *({"input_not_include_cache"} & keywords)), True)
    takes_position = argument == "cache_params" and "cache_position" in keywords

    def step(model: Any, piece: Tensor, state: Any, past: int) -> tuple[Any, Any]:
        position = _cache_position(model, piece, past) if takes_position and state is not None else {}
        state = _initial_cache(model) if state is None else state
        given = {} if state is None else {argument: state}
        output = subject.convention(model, piece, {**given, **further, **position}, past)
        if returned:
            return output, at_path(output, returned)
        if argument in OTHERS and isinstance(output, (tuple, list)):
            return output, output[-1]
        return output, _cache_in(output, argument, state)

    return step


def is_guess(subject: Subject) -> bool:
    """Whether only the names of arguments say that, and how, the model is continued."""
    return not (own_stream(subject) or told(subject) or set(CACHES) & subject.convention.keywords)


def told(subject: Subject) -> bool:
    """Whether the contract says how the model is continued."""
    contract = subject.settings.contract
    return contract is not None and (contract.cache or contract.stream) is not None


def own_stream(subject: Subject) -> bool:
    """Whether the model has a method `stream`."""
    return callable(getattr(subject.model, "stream", None))


def _cache_position(model: Any, piece: Tensor, past: int) -> dict[str, Tensor]:
    """The positions of a piece: in releases 4.43 to 4.57 of transformers such a cache holds no length.

    Their generate() counts from the convolution's width.
    """
    first = max(past, getattr(model.config, "conv_kernel", 0))
    return {"cache_position": torch.arange(first, first + piece.shape[1], device=piece.device)}


def _cache_in(output: Any, name: str, given: Any) -> Any:
    """The cache to continue from: returned by name or in a tuple, else the one that was passed.

    Raises:
        SubjectError: there is none, or nothing was written into the one that was passed.
    """
    if (found_by_name := named(output, name)) is not None:
        return found_by_name
    returned = output[1:] if isinstance(output, (tuple, list)) else ()
    found = (item for item in returned if item is not None and all(hasattr(item, method) for method in METHODS))
    # The tuples of older releases: keys and values of every layer.
    legacy = (item for item in returned if isinstance(item, (tuple, list)) and item and isinstance(item[0], tuple))
    cache = next((item for items in (found, legacy) for item in items), given)
    if cache is None:
        raise SubjectError(f"the model returned no {name}: give it a method stream(piece, state) to be decoded")
    if hasattr(cache, "__len__") and not len(cache):
        raise SubjectError(f"the model wrote nothing into the {name} it was given: does it have a layer_idx?")
    return cache


def _initial_cache(model: Any) -> Any:
    """The cache that streaming starts from: None, or the one that an fla layer expects from its caller."""
    package = type(model).__module__.split(".")
    if package[:2] != ["fla", "layers"]:
        return None
    return importlib.import_module("fla.models.utils").Cache()
