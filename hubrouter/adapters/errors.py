"""What an adapter raises when it is called in a way it cannot honour."""

from __future__ import annotations


class AdapterError(ValueError):
    """A mask, cache or argument that a HubRouter layer cannot obey; the message says what to change."""
