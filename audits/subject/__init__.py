"""The model under audit: loaded by name, prepared, called from the same state every time, and restored."""
