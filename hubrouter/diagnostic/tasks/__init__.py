"""The tasks of the routing diagnostic, one module each."""
