"""The error of an adapter that is called with what a HubRouter layer does not support."""

from __future__ import annotations


class AdapterError(ValueError):
    """A mask, cache or argument that a HubRouter layer does not support; the message says what to change."""
