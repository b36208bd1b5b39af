"""The state of a training run on disk, so that a killed run goes on from there and ends as if nothing had happened.

A checkpoint holds all that the next step depends on: parameters and buffers, the optimiser's state, torch's random
generators, the losses so far (their number is the step), and the identity of the run. State that a model keeps outside
its parameters and buffers is not held. It is written under another name and renamed, so that there is always a whole
one, and a checksum shows a damaged one. Nothing here stops a run: what cannot be read or written costs the time spent
so far.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from audits.evidence.experiment import Progress

CHECKPOINT_SECONDS = 30.0  # between two writings: what a kill may cost, against some tenths of a second a writing
CHECKPOINT_FORMAT = 1  # raise it when what is stored changes its meaning


class CheckpointError(Exception):
    """Checkpoints cannot be used at all; the message is one line that says how to mend it."""


class _UnusableError(Exception):
    """The file cannot be resumed from; the message says why."""


@dataclass
class TrainState:
    """A run between two steps; what training changes, and nothing else.

    Attributes:
        model: its parameters and buffers are stored and restored in place.
        optimizer: over the model's parameters, in the same order in every process.
        losses: nats, one a step done.
        seconds: spent on those steps, in earlier processes too.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0


class Checkpoint:
    """The checkpoint file of one run; what is wrong with it is reported once, as a note of the progress."""

    def __init__(self, path: Path, identity: Mapping[str, Any], steps: int, progress: Progress) -> None:
        """Nothing is read or written yet.

        Args:
            path: the file; its folder is made when needed. One run at a time may use it.
            identity: JSON values that distinguish this run from every other.
            steps: of the whole run, for the progress.
            progress: called with what is wrong with the file.

        Raises:
            CheckpointError: safetensors is not installed.
        """
        try:
            import safetensors.torch  # noqa: F401
        except ModuleNotFoundError:
            raise CheckpointError("checkpoints need safetensors; pip install 'hubrouter-audit[audit]'") from None
        self._path, self._part = path, path.with_name(path.name + ".part")
        self._identity = json.dumps({"format": CHECKPOINT_FORMAT, **identity}, sort_keys=True)
        self._steps, self._progress = steps, progress
        self._written, self._warned = time.monotonic(), False

    def resume(self, standing: TrainState) -> None:
        """Go on from the file if it is a whole one of this run; otherwise leave everything as it is."""
        try:
            tensors, seconds = _read(self._path, self._identity)
            _restore(standing, tensors)
            standing.seconds = seconds
        except FileNotFoundError:
            return
        except (OSError, _UnusableError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            self._progress(0, self._steps, f"checkpoint {self._path.name} is ignored, training starts anew: {why}")
        else:
            self._progress(len(standing.losses), self._steps, f"resumed after step {len(standing.losses)}")

    def save_when_due(self, standing: TrainState, every: float) -> None:
        """Write if the last writing is `every` seconds ago; where that fails, training goes on without."""
        if time.monotonic() - self._written < every:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._write(_packed(standing, self._identity))
        except (OSError, _UnusableError) as error:
            with contextlib.suppress(OSError):
                self._part.unlink(missing_ok=True)
            self._warn(len(standing.losses), (error.strerror if isinstance(error, OSError) else None) or str(error))
        self._written = time.monotonic()

    def remove(self) -> None:
        """The run has finished: nothing is left to resume."""
        for path in (self._path, self._part):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def _write(self, data: bytes) -> None:
        """Under another name, to the disk, then renamed: a kill at any moment leaves the old file or the new one."""
        with self._part.open("wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        self._part.replace(self._path)
        with contextlib.suppress(OSError):  # some file systems cannot sync a folder; the file is whole either way
            descriptor = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _warn(self, step: int, why: str) -> None:
        """Once a run: the next progress would only repeat it."""
        if not self._warned:
            self._progress(step, self._steps, f"no checkpoint could be written, a kill would lose this run: {why}")
        self._warned = True


def run_identity(model: nn.Module) -> dict[str, Any]:
    """What a model adds to the identity of its run: its modules' types, its tensors' shapes and their first values."""
    tensors = dict(_state(model))
    return {
        "torch": str(torch.__version__),
        "modules": [
            [name, f"{type(module).__module__}.{type(module).__qualname__}"] for name, module in model.named_modules()
        ],
        "tensors": {
            name: [str(tensor.dtype), list(tensor.shape), tensor.device.type] for name, tensor in tensors.items()
        },
        "start": _checksum({name: _plain(tensor) for name, tensor in tensors.items()}, ""),
    }


def _state(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers, those that state_dict leaves out too; shared ones once."""
    yield from ((f"parameter.{name}", parameter) for name, parameter in model.named_parameters())
    yield from ((f"buffer.{name}", buffer) for name, buffer in model.named_buffers())


def _plain(tensor: Tensor) -> Tensor:
    """A copy on the CPU that shares memory with nothing."""
    return tensor.detach().to("cpu", copy=True).contiguous()


def _tensors(standing: TrainState) -> dict[str, Tensor]:
    """Everything the next step depends on."""
    tensors = {name: _plain(tensor) for name, tensor in _state(standing.model)}
    for index, state in standing.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": _plain(value) for name, value in state.items()}
    tensors["random.cpu"] = torch.get_rng_state()
    for device in _cuda(standing.model):
        tensors["random.cuda"] = torch.cuda.get_rng_state(device)
    tensors["losses"] = torch.tensor(standing.losses, dtype=torch.float64)
    return tensors


def _cuda(model: nn.Module) -> tuple[torch.device, ...]:
    """The CUDA device that the model is on, if any."""
    return tuple({p.device for p in model.parameters() if p.device.type == "cuda"})[:1]


def _checksum(tensors: Mapping[str, Tensor], text: str) -> str:
    """SHA-256 of the text and of every tensor's name, type, shape and bytes."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\0{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _packed(standing: TrainState, identity: str) -> bytes:
    """The file's bytes.

    Raises:
        _UnusableError: a tensor is of a type that the format does not hold.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save

    tensors, seconds = _tensors(standing), repr(standing.seconds)
    facts = {"identity": identity, "seconds": seconds, "sha256": _checksum(tensors, identity + seconds)}
    try:
        return save(tensors, facts)
    except (SafetensorError, KeyError, ValueError) as error:
        raise _UnusableError(f"a tensor cannot be stored ({error})") from None


def _read(path: Path, identity: str) -> tuple[dict[str, Tensor], float]:
    """The tensors and the seconds of a whole file of this run.

    Raises:
        OSError: the file cannot be read.
        _UnusableError: it is damaged, or another run's.
    """
    from safetensors import SafetensorError, safe_open

    with path.open("rb"):  # for its plain errors
        pass
    try:
        with safe_open(path, framework="pt") as file:
            facts, tensors = file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        whole = facts["sha256"] == _checksum(tensors, facts["identity"] + facts["seconds"])
        seconds = float(facts["seconds"])
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise _UnusableError(f"it is damaged ({type(error).__name__})") from None
    if not whole:
        raise _UnusableError("it is damaged (wrong checksum)")
    if facts["identity"] != identity:
        raise _UnusableError(f"it is of another run ({_difference(facts['identity'], identity)} differs)")
    return tensors, seconds


def _difference(one: str, other: str) -> str:
    """The names of the facts that two identities differ in."""
    try:
        theirs, ours = json.loads(one), json.loads(other)
        return ", ".join(sorted(key for key in theirs.keys() | ours.keys() if theirs.get(key) != ours.get(key)))
    except (ValueError, AttributeError):
        return "its form"


@torch.no_grad()
def _restore(standing: TrainState, tensors: Mapping[str, Tensor]) -> None:
    """Everything as it was stored; nothing is touched before all of it is known to fit.

    Raises:
        _UnusableError: the file lacks tensors of this run, or they have other shapes.
    """
    state = dict(_state(standing.model))
    moments: dict[int, dict[str, Tensor]] = {}
    for name in (name for name in tensors if name.startswith("optimizer.")):
        _, index, key = name.split(".", 2)
        moments.setdefault(int(index), {})[key] = tensors[name]
    fits = all(name in tensors and tensors[name].shape == tensor.shape for name, tensor in state.items())
    if not fits or not {"random.cpu", "losses"} <= tensors.keys():
        raise _UnusableError("its tensors are not this model's")
    for name, tensor in state.items():
        tensor.copy_(tensors[name])
    groups = standing.optimizer.state_dict()["param_groups"]
    standing.optimizer.load_state_dict({"state": moments, "param_groups": groups})
    torch.set_rng_state(tensors["random.cpu"])
    for device in _cuda(standing.model):
        torch.cuda.set_rng_state(tensors["random.cuda"], device)
    standing.losses[:] = tensors["losses"].tolist()
