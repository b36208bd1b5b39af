"""Routing mechanisms on their tasks, one experiment a file; a file starting with an underscore is shared material."""
