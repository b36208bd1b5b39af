"""Somebody's model: found by name, prepared, called from the same state every time, and put back."""
