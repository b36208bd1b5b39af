"""Where the kernels can run: on a CUDA device, or in Triton's interpreter for tests. Anything else is a clear error."""

from __future__ import annotations

import os

from hubrouter.config import ConfigError


def interpreted() -> bool:
    """Whether Triton interprets kernels on the CPU: `TRITON_INTERPRET=1` was set before this process began."""
    return os.environ.get("TRITON_INTERPRET") == "1"
