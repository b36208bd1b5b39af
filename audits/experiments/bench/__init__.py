"""Time and memory of layers, one experiment a file; a file starting with an underscore is shared material."""
