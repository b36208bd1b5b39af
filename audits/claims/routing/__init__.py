"""Claims of the companion paper on routing, one file each; a file starting with an underscore is shared material."""
