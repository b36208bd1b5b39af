"""Peak memory of an action: what torch's allocator hands out, beyond what was held before."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import accumulate
from typing import Any, cast

import torch
from torch.autograd.profiler import profile


def peak_bytes(action: Callable[[], object], device: str) -> int:
    """Bytes allocated at the action's peak, less those allocated when it began.

    On CUDA the allocator keeps this count. On a CPU its every allocation and release is listed by torch's profiler and
    summed up; scratch space that a math library takes from the system by itself is in neither.
    """
    if device.startswith("cuda"):
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        action()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else the profiler writes lines between the progress bars
    with profile(profile_memory=True) as profiled:
        action()
    events = cast("Any", profiled.kineto_results).events()
    changes = (int(event.nbytes()) for event in events if event.name() == "[memory]")
    return max(accumulate(changes, initial=0))
