"""HubRouter with one thing switched off or replaced: the kernels are checked there, and a GPU's bench measures it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ABLATIONS: Mapping[str, Mapping[str, Any]] = {
    "hub-selected": {"council": "selected"},
    "hub-chunk": {"council": "chunk"},
    "hub-random": {"selection": "random"},
    "hub-recent": {"selection": "recent"},
    "hub-no-readout": {"readout": False},
    "hub-gates": {"adaptive_hubs": True},
}
