"""Leaves a model, and the settings of this process, as they were, also where an audit's copy reaches the original.

An audit calls a copy (`copying.py`). Functions and weak references are not copied: a hook, a closure, a bound method or
a class attribute leads from the copy back to the original. What they lead to is saved before and restored after.
"""

from __future__ import annotations

import functools
import random
import sys
import types
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from audits.subject.settings import Settings, SubjectError
from audits.subject.snapshot import Snapshot

P = ParamSpec("P")
R = TypeVar("R")


def check_device(name: str) -> None:
    """Raise SubjectError for a device that cannot be used here, or that computes nothing."""
    Settings(device=name).check()
    try:
        computes = float(torch.ones(2, device=name).add(1).sum()) == 4
    except (RuntimeError, NotImplementedError):
        computes = False
    if not computes:
        raise SubjectError(
            f"device {name!r} computes nothing, so that nothing can be audited or measured: use cpu or cuda"
        )


@contextmanager
def untouched(model: Any) -> Iterator[None]:
    """Around whatever runs a model: afterwards it and the settings of torch, Python and numpy are as before."""
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    classes = list(_class_attributes(modules))
    weights = [weight for module in modules for weight in module._parameters.values() if weight is not None]
    # Lazy weights hold no values yet: an audit refuses them, and calls nothing.
    led_to = [] if any(map(is_lazy, weights)) else [value for _, value in _led_to(model)]
    state = [value for *_, value in classes if isinstance(value, Tensor | dict | list | set | bytearray)]
    snapshot = Snapshot(led_to + state)
    modes = [(module, module.training) for module in modules if hasattr(module, "training")]
    gradients = [(weight, weight.requires_grad, weight.grad) for weight in weights]
    with settings_kept():
        try:
            yield
        finally:
            snapshot.restore()
            for module, training in modes:
                module.training = training
            for weight, requires, gradient in gradients:
                if weight.requires_grad != requires and weight.is_leaf:
                    weight.requires_grad_(requires)
                if weight.grad is not gradient:
                    weight.grad = gradient
            for kind, name, value in classes:
                if vars(kind).get(name, kind) is not value:
                    setattr(kind, name, value)


@contextmanager
def settings_kept() -> Iterator[None]:
    """Restore what holds for the process: default dtype and device, threads, gradients, determinism, generators."""
    with ExitStack() as stack:
        for read, write in _settings():
            stack.callback(_put_back, read, write, read())
        yield


def guarded(run: Callable[P, R]) -> Callable[P, R]:
    """The same function of a model, which leaves it untouched; a `device` that computes nothing is refused.

    `run` raises SubjectError for settings that cannot be used.
    """

    @wraps(run)
    def guarded_run(*args: P.args, **kwargs: P.kwargs) -> R:
        __tracebackhide__ = True  # pytest then shows the caller's line
        settings = next((value for value in (*args, *kwargs.values()) if isinstance(value, Settings)), None)
        check_device(settings.device if settings else str(kwargs.get("device", Settings.device)))
        with untouched(args[0] if args else kwargs.get("model")):
            return run(*args, **kwargs)

    return guarded_run


def reaches_original(model: Any) -> list[str]:
    """The names of attributes through which a copy of the model would reach the original."""
    return sorted(dict.fromkeys(name for name, _ in _led_to(model)))


def _settings() -> list[tuple[Callable[[], Any], Callable[[Any], Any]]]:
    """How each setting is read and written."""
    pairs: list[tuple[Callable[[], Any], Callable[[Any], Any]]] = [
        (torch.get_default_dtype, torch.set_default_dtype),
        (torch.get_default_device, _set_default_device),
        (torch.get_num_threads, torch.set_num_threads),
        (torch.is_grad_enabled, torch.set_grad_enabled),
        (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
        (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
        (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
        (lambda: torch.backends.cudnn.benchmark, lambda value: setattr(torch.backends.cudnn, "benchmark", value)),
        (lambda: torch.backends.cudnn.allow_tf32, lambda value: setattr(torch.backends.cudnn, "allow_tf32", value)),
        (torch.get_rng_state, torch.set_rng_state),
        (random.getstate, random.setstate),
    ]
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        pairs.append((torch.cuda.get_rng_state_all, torch.cuda.set_rng_state_all))
    if numpy := sys.modules.get("numpy"):
        pairs.append((numpy.random.get_state, numpy.random.set_state))
    return pairs


def _put_back(read: Callable[[], Any], write: Callable[[Any], Any], before: Any) -> None:
    """Write a setting where it differs, and where that can be told."""
    with suppress(ValueError, RuntimeError):  # of arrays and tensors, whose equality is no truth value
        if read() == before:
            return
    write(before)


def _set_default_device(device: torch.device) -> None:
    """The default device; without one, which reads as the CPU, none."""
    torch.set_default_device(None if device.type == "cpu" else device)


def _led_to(model: Any) -> Iterator[tuple[str, Any]]:
    """What functions and references of the model, which a copy shares, lead to, by the attribute that holds them."""
    if not isinstance(model, nn.Module):
        return
    for name, module in model.named_modules():
        prefix = f"{name}." if name else ""
        for attribute, value in vars(module).items():
            values = value.values() if isinstance(value, dict) and "_hooks" in attribute else [value]
            for held in values:
                yield from ((prefix + attribute, reached) for reached in _reached(held))


def _reached(value: Any) -> list[Any]:
    """What functions, bound methods, partial calls and weak references lead to; nothing for plain functions."""
    if isinstance(value, functools.partial):
        return [
            item for part in (value.func, *value.args, *value.keywords.values()) for item in _reached(part) or [part]
        ]
    if isinstance(value, weakref.ReferenceType):
        return [found] if (found := value()) is not None else []
    if isinstance(value, types.MethodType):
        return [value]
    if isinstance(value, types.FunctionType):
        return [value] if value.__closure__ else []
    return []


def _class_attributes(modules: list[nn.Module]) -> Iterator[tuple[type, str, Any]]:
    """What the classes of the modules hold that is no code, by class and name; those of torch itself have no state."""
    for kind in dict.fromkeys(kind for module in modules for kind in type(module).__mro__):
        if kind is not object and kind.__module__.partition(".")[0] != "torch":
            for name, value in vars(kind).items():
                code = callable(value) or hasattr(value, "__get__") or isinstance(value, types.ModuleType)
                if not (code or name.startswith("__")):
                    yield kind, name, value
